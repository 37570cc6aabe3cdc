"""The noise of a machine: how much runs of one setting differ, and which effect can be seen through it. Pure.

A run is one value of each figure, as its IOs are not independent of each other. Effects are shares of the figure, so
all is reckoned with logarithms. The power is that of Student's test with as many repeats on each side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize, stats

from vio.bencher.witness import Told

POWER: Final = 0.9
_SURE: Final = 0.9
_MOST_REPEATS: Final = 1000
_WIDEST: Final = 20.0  # in logarithms: nothing is that much slower
_DRIFT_P: Final = 0.01
_FIGURES: Final = {"mean": "mean_ns", "p50": "p50_ns", "p99": "p99_ns"}
MIN_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one figure of one operation.

    `spread` is the standard deviation between runs as a share of the figure, `spread_at_most` what it is below with
    90 % confidence: few runs know their own spread badly. `visible` is the effect that `repeats` runs a side find in 9
    of 10 cases, `visible_at_most` the same for `spread_at_most`; `needed` the repeats for the effect that matters, None
    for more than 1000. `drift` is the change from run to run, where it is more than chance; None where it is not.
    """

    op: str
    figure: str
    run_count: int
    spread: float
    spread_at_most: float
    repeats: int
    visible: float
    visible_at_most: float
    effect: float
    needed: int | None
    drift: float | None = None


def noise_of(runs: Sequence[Sequence[Told]], repeats: int, effect: float, alpha: float) -> tuple[Noise, ...]:
    """Return the noise of each operation that all runs have, in the order of the runs.

    `effect` is the smallest that matters, as a share; `alpha` the false alarms that a test may give.
    """
    if len(runs) < MIN_RUNS:
        return ()
    found = []
    ops = [told.op for told in runs[0] if all(any(other.op == told.op for other in run) for run in runs)]
    for op in ops:
        of_op = [next(told for told in run if told.op == op) for run in runs]
        for figure, key in _FIGURES.items():
            values = [getattr(told, key) for told in of_op]
            if all(value is not None and value > 0 for value in values):
                found.append(_noise(op, figure, values, repeats, effect, alpha))
    return tuple(found)


def power(effect: float, spread: float, repeats: int, alpha: float) -> float:
    """Return how likely `repeats` runs a side find an effect (a share, as 0.05), with `alpha` false alarms."""
    if repeats < 2:
        return 0.0
    if spread <= 0:
        return 1.0
    freedom = 2 * repeats - 2
    away = np.log1p(effect) / spread * np.sqrt(repeats / 2)
    limit = stats.t.isf(alpha / 2, freedom)
    return float(stats.nct.sf(limit, freedom, away))


def visible_effect(spread: float, repeats: int, alpha: float) -> float:
    """Return the smallest effect that `repeats` runs a side find in 9 of 10 cases; inf for none."""
    if spread <= 0:
        return 0.0

    def lack(logarithm: float) -> float:
        return power(float(np.expm1(logarithm)), spread, repeats, alpha) - POWER

    if lack(_WIDEST) < 0:
        return float("inf")
    return float(np.expm1(optimize.brentq(lack, 0.0, _WIDEST)))


def needed_repeats(effect: float, spread: float, alpha: float) -> int | None:
    """Return how many runs a side find an effect in 9 of 10 cases; None if 1000 do not."""
    low, high = 1, _MOST_REPEATS
    if power(effect, spread, high, alpha) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, spread, middle, alpha) >= POWER else (middle, high)
    return high


def _noise(op: str, figure: str, values: list[float], repeats: int, effect: float, alpha: float) -> Noise:
    logarithms = np.log(values)
    spread, freedom = float(np.std(logarithms, ddof=1)), len(values) - 1
    at_most = spread * float(np.sqrt(freedom / stats.chi2.isf(_SURE, freedom)))
    slope = stats.linregress(np.arange(len(values)), logarithms)
    return Noise(
        op,
        figure,
        len(values),
        spread,
        at_most,
        repeats,
        visible_effect(spread, repeats, alpha),
        visible_effect(at_most, repeats, alpha),
        effect,
        needed_repeats(effect, spread, alpha),
        float(np.expm1(slope.slope)) if slope.pvalue < _DRIFT_P else None,
    )
