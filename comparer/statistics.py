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
TRIM = 0.2
"""Yuen's test leaves out this share of the runs at either end: one run of five to nine."""
SAME_ERROR = 0.05
"""The chance that an equivalence test calls sides the same that differ by the smallest effect that matters."""
_ROUNDING = 1e-9
_MOST = 1 - 1e-9
_RESAMPLES = 9999
_BATCH = 100
_SEED = 20_231_117


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """By figure: the means of both sides, the interval of their difference, the chances of seeing such by accident.

    `p` is of such a difference between equal sides, `p_same` of such closeness between sides that differ by the margin;
    NaN where nothing can be said. All but `p_same` are of what is left without each side's extreme runs where
    `is_trimmed`.
    """

    base: Floats
    new: Floats
    low: Floats
    high: Floats
    p: Floats
    p_same: Floats
    is_trimmed: npt.NDArray[np.bool_]


def compare_units(
    base: Floats, new: Floats, margin: Floats, *, are_blocks: bool, may_trim: npt.NDArray[np.bool_] | None = None
) -> Tested:
    """Test the difference of the means; sides are the same, by figure, that differ by less than `margin`.

    Repeats: Welch's t test; with a single run on one side, Student's, as the other's spread has to stand for both. It
    is of logarithms where all values are above 0, since the noise of a machine grows with the time that it is in.
    Figures that `may_trim` are tested twice where there are runs enough: with all runs, and by Yuen's test, which
    leaves out the extreme ones; what says more is taken, and its chance doubled for having had two.
    Blocks of a run: a permutation test, and an interval by resampling them.
    """
    low, high, p, p_same = (np.full(base.shape[1], np.nan) for _ in range(4))
    is_trimmed = np.zeros(base.shape[1], np.bool_)
    tested = Tested(base.mean(axis=0), new.mean(axis=0), low, high, p, p_same, is_trimmed)
    # rounding is no spread
    varies = np.maximum(np.ptp(base, axis=0), np.ptp(new, axis=0)) > _ROUNDING * np.abs(tested.base + tested.new)
    if max(len(base), len(new)) < 2 or not varies.any():
        return tested
    old, now = base[:, varies], new[:, varies]
    student = _Student.of(old, now)
    tested.p_same[varies] = student.p_within(margin[varies])
    if are_blocks:
        tested.p[varies], tested.low[varies], tested.high[varies] = _resampled(old, now)
    else:
        tested.p[varies] = student.p()
        tested.low[varies], tested.high[varies] = student.interval()
        if may_trim is not None and min(len(base), len(new)) * TRIM >= 1:
            _trim(tested, base, new, varies & may_trim)
    return tested


def _trim(tested: Tested, base: Floats, new: Floats, columns: npt.NDArray[np.bool_]) -> None:
    """Put Yuen's test in the place of Welch's, in these columns, where it says more."""
    with np.errstate(invalid="ignore", divide="ignore"):  # all may be alike but the extreme ones
        student = _Student.of(base[:, columns], new[:, columns], TRIM)
        p = student.p()
        low, high = student.interval()
    is_better = (student.error > 0) & (p < tested.p[columns])
    tested.p[columns] = np.minimum(2 * np.where(is_better, p, tested.p[columns]), 1)
    places = np.flatnonzero(columns)[is_better]
    tested.is_trimmed[places] = True
    tested.low[places], tested.high[places] = low[is_better], high[is_better]
    tested.base[places], tested.new[places] = student.base[is_better], student.new[is_better]


@dataclass(frozen=True, slots=True, eq=False)
class _Student:
    """Means of both sides, and what Student's distribution needs: differences, their errors, degrees of freedom.

    Differences and errors are of logarithms where `is_log`.
    """

    base: Floats
    new: Floats
    is_log: npt.NDArray[np.bool_]
    difference: Floats
    error: Floats
    freedom: Floats

    @classmethod
    def of(cls, base: Floats, new: Floats, trim: float = 0.0) -> "_Student":
        """Prepare Welch's test, or with `trim` Yuen's; with a single run on one side Student's. Columns need spread."""
        is_log = (base.min(axis=0) > 0) & (new.min(axis=0) > 0)
        sides = [np.where(is_log, np.log(np.where(is_log, side, 1.0)), side) for side in (base, new)]
        old_mean, new_mean = (_trimmed(side, trim)[0] for side in (base, new))
        if min(len(base), len(new)) == 1:
            difference = sides[1].mean(axis=0) - sides[0].mean(axis=0)
            spread = max(sides, key=len).var(axis=0, ddof=1) * (1 / len(base) + 1 / len(new))
            freedom = np.full(base.shape[1], max(len(base), len(new)) - 1.0)
            return cls(old_mean, new_mean, is_log, difference, np.sqrt(spread), freedom)
        (old, old_square, old_count), (now, now_square, now_count) = (_trimmed(side, trim) for side in sides)
        total = old_square + now_square
        freedom = total**2 / (old_square**2 / (old_count - 1) + now_square**2 / (now_count - 1))
        return cls(old_mean, new_mean, is_log, now - old, np.sqrt(total), freedom)

    def p(self) -> Floats:
        """Return the chance of such a difference, in either direction, where there is none.

        Where logarithms say that one side is more, and the means that the other is, nothing is shown.
        """
        is_agreed = self.difference * (self.new - self.base) >= 0
        return np.where(is_agreed, 2 * self._below(-np.abs(self.difference)), 1.0)

    def p_within(self, margin: Floats) -> Floats:
        """Return the chance of so small a difference where it is `margin` (two one-sided tests)."""
        share = np.where(self.is_log & (margin > 0), margin / np.where(self.is_log, self.base, 1.0), 0.0)
        above = np.where(self.is_log, np.log1p(share), margin)
        below = np.where(self.is_log, -np.log1p(-np.minimum(share, _MOST)), margin)
        closeness = np.maximum(self._below(self.difference - above), self._below(-self.difference - below))
        # no closeness is enough for a margin that is not above 0
        return np.where(margin <= 0, np.nan, closeness)

    def interval(self) -> tuple[Floats, Floats]:
        """Return the interval of the differences."""
        from scipy import special

        half = special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2) * self.error
        low, high = (
            np.where(self.is_log, self.base * np.expm1(np.where(self.is_log, end, 0.0)), end)
            for end in (self.difference - half, self.difference + half)
        )
        return low, high

    def _below(self, difference: Floats) -> Floats:
        from scipy import special  # not for what only shows figures

        return np.asarray(special.stdtr(self.freedom, difference / self.error))


def _trimmed(side: Floats, trim: float) -> tuple[Floats, Floats, int]:
    """Return a side's trimmed means, the squares of their errors, and of how many runs they are (Yuen 1974)."""
    ordered = np.sort(side, axis=0)
    cut = int(trim * len(side))
    kept = ordered[cut : len(side) - cut]
    count = len(kept)
    if count == 1:
        return kept[0], np.full(side.shape[1], np.nan), count
    winsorized = np.clip(ordered, kept[0], kept[-1])
    square = (len(side) - 1) * winsorized.var(axis=0, ddof=1) / (count * (count - 1))
    return kept.mean(axis=0), square, count


def _resampled(base: Floats, new: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the chance of such a difference by permuting units, and its interval by drawing them again."""
    from scipy import stats

    with warnings.catch_warnings():
        # SciPy warns of a side whose values are all alike, which the other's spread makes up for
        warnings.simplefilter("ignore", RuntimeWarning)
        # all at once would take a gigabyte, and twice the time; what is drawn is the same
        method = stats.PermutationMethod(n_resamples=_RESAMPLES, batch=_BATCH, random_state=_SEED)
        tested = stats.ttest_ind(new, base, equal_var=False, method=method)
        drawn = stats.bootstrap(
            (new, base),
            lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
            confidence_level=CONFIDENCE,
            n_resamples=2000,
            batch=_BATCH,
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
