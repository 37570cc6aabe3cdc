"""The tests, all of them SciPy's: of a difference, of equivalence, and the share of false alarms over many figures.

Every array has a row for each unit (a run, or a block of a run's time) and a column for each figure.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
SAME_ERROR = 0.05
"""The chance that an equivalence test calls sides the same that differ by the smallest effect that matters."""
_ROUNDING = 1e-9
_RESAMPLES = 9999
_SEED = 20_231_117


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """By figure: the means of both sides, the interval of their difference, the chances of seeing such by accident.

    `p` is of such a difference between equal sides, `p_same` of such closeness between sides that differ by the margin;
    NaN where nothing can be said.
    """

    base: Floats
    new: Floats
    low: Floats
    high: Floats
    p: Floats
    p_same: Floats


def compare_units(base: Floats, new: Floats, margin: Floats, *, are_blocks: bool) -> Tested:
    """Test the difference of the means; sides are the same, by figure, that differ by less than `margin`.

    Repeats: Welch's t test; with a single run on one side, Student's, as the other's spread has to stand for both.
    Blocks of a run: a permutation test, and an interval by resampling them.
    """
    # SciPy takes a second to import: what only shows figures does without.
    from scipy import stats

    sizes = (len(base), len(new))
    means = base.mean(axis=0), new.mean(axis=0)
    low, high, p, p_same = (np.full(base.shape[1], np.nan) for _ in range(4))
    # rounding is no spread
    varies = np.maximum(np.ptp(base, axis=0), np.ptp(new, axis=0)) > _ROUNDING * np.abs(means[0] + means[1])
    if max(sizes) < 2 or not varies.any():
        return Tested(*means, low, high, p, p_same)
    old, now, least = base[:, varies], new[:, varies], margin[varies]
    is_pooled = min(sizes) == 1

    def p_of(a: Floats, b: Floats, alternative: str = "two-sided", **how: object) -> Floats:
        return np.asarray(stats.ttest_ind(a, b, equal_var=is_pooled, alternative=alternative, **how).pvalue)

    with warnings.catch_warnings():
        # SciPy warns of a side whose values are all alike, which the other's spread makes up for
        warnings.simplefilter("ignore", RuntimeWarning)
        if are_blocks:
            method = stats.PermutationMethod(n_resamples=_RESAMPLES, random_state=_SEED)
            p[varies] = p_of(now, old, method=method)
            low[varies], high[varies] = _resampled(stats.bootstrap, old, now)
        else:
            tested = stats.ttest_ind(now, old, equal_var=is_pooled)
            p[varies] = tested.pvalue
            low[varies], high[varies] = tested.confidence_interval(CONFIDENCE)
        # no closeness is enough for a margin that is not above 0
        p_same[varies] = np.where(
            least <= 0, np.nan, np.maximum(p_of(now, old + least, "less"), p_of(now, old - least, "greater"))
        )
    return Tested(*means, low, high, p, p_same)


def _resampled(bootstrap: Callable[..., object], base: Floats, new: Floats) -> tuple[Floats, Floats]:
    result = bootstrap(
        (new, base),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        confidence_level=CONFIDENCE,
        n_resamples=2000,
        batch=100,
        method="percentile",
        random_state=_SEED,
    )
    interval = result.confidence_interval  # type: ignore[attr-defined]
    return interval.low, interval.high


def adjust_p(p: Floats) -> Floats:
    """Account for the number of figures of a family (Holm): the chance that any of them is found by accident.

    A figure that could not be tested (NaN) takes no part.
    """
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    steps = (len(order) - np.arange(len(order))) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
