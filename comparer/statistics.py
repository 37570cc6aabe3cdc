"""The tests: of a difference, of equivalence, and the share of false alarms over many figures.

Every array has a row for each unit (a run, or a block of a run's time) and a column for each figure.

SciPy's own t test lies in scipy.stats, which takes longer to import than a comparison of baselines may last. So the
tests of repeats take Student's distribution from scipy.special, and a test holds them to what scipy.stats says.
"""

import warnings
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
    means = base.mean(axis=0), new.mean(axis=0)
    low, high, p, p_same = (np.full(base.shape[1], np.nan) for _ in range(4))
    # rounding is no spread
    varies = np.maximum(np.ptp(base, axis=0), np.ptp(new, axis=0)) > _ROUNDING * np.abs(means[0] + means[1])
    if max(len(base), len(new)) < 2 or not varies.any():
        return Tested(*means, low, high, p, p_same)
    old, now, least = base[:, varies], new[:, varies], margin[varies]
    student = _student(old, now)
    p_same[varies] = student.p_within(least)
    if are_blocks:
        p[varies], low[varies], high[varies] = _resampled(old, now)
    else:
        p[varies] = student.p()
        low[varies], high[varies] = student.interval()
    return Tested(*means, low, high, p, p_same)


@dataclass(frozen=True, slots=True, eq=False)
class _Student:
    """Differences of means, their standard errors and degrees of freedom, for Student's distribution."""

    difference: Floats
    error: Floats
    freedom: Floats

    def p(self) -> Floats:
        """Return the chance of such a difference, in either direction, where there is none."""
        return 2 * self._below(-np.abs(self.difference))

    def p_within(self, margin: Floats) -> Floats:
        """Return the chance of so small a difference where it is `margin` (two one-sided tests)."""
        closeness = np.maximum(self._below(self.difference - margin), self._below(-self.difference - margin))
        # no closeness is enough for a margin that is not above 0
        return np.where(margin <= 0, np.nan, closeness)

    def interval(self) -> tuple[Floats, Floats]:
        """Return the interval of the differences."""
        from scipy import special

        half = special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2) * self.error
        return self.difference - half, self.difference + half

    def _below(self, difference: Floats) -> Floats:
        from scipy import special  # not for what only shows figures

        return np.asarray(special.stdtr(self.freedom, difference / self.error))


def _student(base: Floats, new: Floats) -> _Student:
    """Prepare Welch's test; with a single run on one side Student's. Some spread there has to be in each column."""
    difference = new.mean(axis=0) - base.mean(axis=0)
    sizes = len(base), len(new)
    if min(sizes) == 1:
        freedom = max(sizes) - 1
        spread = max((base, new), key=len).var(axis=0, ddof=1)
        return _Student(difference, np.sqrt(spread * (1 / sizes[0] + 1 / sizes[1])), np.full(len(difference), freedom))
    shares = [side.var(axis=0, ddof=1) / len(side) for side in (base, new)]
    total = shares[0] + shares[1]
    freedom = total**2 / sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    return _Student(difference, np.sqrt(total), freedom)


def _resampled(base: Floats, new: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the chance of such a difference by permuting units, and its interval by drawing them again."""
    from scipy import stats

    with warnings.catch_warnings():
        # SciPy warns of a side whose values are all alike, which the other's spread makes up for
        warnings.simplefilter("ignore", RuntimeWarning)
        method = stats.PermutationMethod(n_resamples=_RESAMPLES, random_state=_SEED)
        tested = stats.ttest_ind(new, base, equal_var=False, method=method)
        drawn = stats.bootstrap(
            (new, base),
            lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
            confidence_level=CONFIDENCE,
            n_resamples=2000,
            batch=100,
            method="percentile",
            random_state=_SEED,
        )
    return tested.pvalue, drawn.confidence_interval.low, drawn.confidence_interval.high


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
