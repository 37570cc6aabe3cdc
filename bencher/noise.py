"""The noise of a machine: how much runs of one setting differ, and which change can be seen through it. Pure.

A run is one value of each figure, as its IOs are not independent of each other. Changes are shares of the figure, so
all is reckoned with logarithms. A change is found as the comparer finds it: by Student's test of the repeats, at the
false alarms that are left for this figure among all, and only if what is seen is not below what matters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize, stats

from vio.bencher.witness import Told

FOUND: Final = 0.9
_SURE: Final = 0.9
_MOST_REPEATS: Final = 1000
_WIDEST: Final = 20.0  # in logarithms: nothing is that much slower
_DRIFT_P: Final = 0.002  # several figures are looked at: of equal runs one in some eighty may read as a drift
_QUANTILES: Final = 200  # of the spread that a test will happen to see
MIN_RUNS: Final = 3
_MIN_IOS: Final = {"mean": 10, "p50": 10, "p99": 500}
"""Of fewer IOs in a run a figure says nothing of the setting: five of them must lie beyond a quantile."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a change of a figure has to pass: `margin` is the smallest that matters (a share), `alpha` the false alarms.

    `same_error` is the chance that figures which differ by the margin are called the same.
    """

    margin: float
    alpha: float
    same_error: float


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one figure of one operation.

    `spread` is the standard deviation between runs as a share of the figure, `spread_at_most` what it is below with
    90 % confidence: few runs know their own spread badly. `visible` is the change that `repeats` runs a side find in 9
    of 10 cases, `visible_at_most` the same for `spread_at_most`. `needed` are the repeats that find a change of twice
    what matters (one of just that is found in half of the cases, however many repeats there are), `needed_same` those
    that can tell that equal settings are the same; None for more than 1000. `drift` is the change from run to run,
    where it is more than chance; None where it is not.
    """

    op: str
    figure: str
    run_count: int
    spread: float
    spread_at_most: float
    repeats: int
    visible: float
    visible_at_most: float
    change: float
    needed: int | None
    needed_same: int | None
    drift: float | None = None


def noise_of(runs: Sequence[Sequence[Told]], repeats: int, tests: Callable[[str, int], Bar]) -> tuple[Noise, ...]:
    """Return the noise of each operation that all runs have, in the order of the runs; nothing for 2 runs or fewer.

    `tests` gives the test of a figure (mean, p50, p99), of so many operations.
    """
    if len(runs) < MIN_RUNS:
        return ()
    found = []
    ops = [told.op for told in runs[0] if all(any(other.op == told.op for other in run) for run in runs)]
    for op in ops:
        of_op = [next(told for told in run if told.op == op) for run in runs]
        for figure, least in _MIN_IOS.items():
            values = [getattr(told, f"{figure}_ns") for told in of_op]
            if min(told.count for told in of_op) >= least and all(value is not None and value > 0 for value in values):
                found.append(_noise(op, figure, values, repeats, tests(figure, len(ops))))
    return tuple(found)


def power(change: float, spread: float, repeats: int, test: Bar) -> float:
    """Return how likely `repeats` runs a side are to find a change (a share, such as 0.05) and call it by its name."""
    if repeats < 2:
        return 0.0
    seen, error = _spreads(spread, repeats)
    limit = stats.t.isf(test.alpha / 2, 2 * repeats - 2)
    least = np.maximum(limit * seen, np.log1p(test.margin))
    return float(np.mean(stats.norm.sf((least - np.log1p(change)) / error)))


def power_same(spread: float, repeats: int, test: Bar) -> float:
    """Return how likely `repeats` runs a side of equal settings are to be called the same."""
    if repeats < 2:
        return 0.0
    seen, error = _spreads(spread, repeats)
    room = np.log1p(test.margin) - stats.t.isf(test.same_error, 2 * repeats - 2) * seen
    return float(np.mean(np.where(room > 0, 1 - 2 * stats.norm.sf(room / error), 0.0)))


def visible_change(spread: float, repeats: int, test: Bar) -> float:
    """Return the smallest change that `repeats` runs a side find in 9 of 10 cases; inf for none."""

    def lack(logarithm: float) -> float:
        return power(float(np.expm1(logarithm)), spread, repeats, test) - FOUND

    if lack(_WIDEST) < 0:
        return float("inf")
    return float(np.expm1(optimize.brentq(lack, 0.0, _WIDEST)))


def needed_repeats(is_enough: Callable[[int], bool]) -> int | None:
    """Return the fewest repeats that are enough; None if 1000 are not."""
    low, high = 1, _MOST_REPEATS
    if not is_enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _spreads(spread: float, repeats: int) -> tuple[np.ndarray, float]:
    """Return the errors of a difference that a test will happen to estimate, each as likely, and the true one."""
    error = max(spread, 1e-9) * float(np.sqrt(2 / repeats))
    freedom = 2 * repeats - 2
    likely = stats.chi2.ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES, freedom)
    return error * np.sqrt(likely / freedom), error


def _noise(op: str, figure: str, values: list[float], repeats: int, test: Bar) -> Noise:
    logarithms = np.log(values)
    spread, freedom = float(np.std(logarithms, ddof=1)), len(values) - 1
    at_most = spread * float(np.sqrt(freedom / stats.chi2.isf(_SURE, freedom)))
    line = stats.linregress(np.arange(len(values)), logarithms)
    change = 2 * test.margin
    return Noise(
        op,
        figure,
        len(values),
        spread,
        at_most,
        repeats,
        visible_change(spread, repeats, test),
        visible_change(at_most, repeats, test),
        change,
        needed_repeats(lambda count: power(change, spread, count, test) >= FOUND),
        needed_repeats(lambda count: power_same(spread, count, test) >= FOUND),
        float(np.expm1(line.slope)) if line.pvalue < _DRIFT_P else None,
    )
