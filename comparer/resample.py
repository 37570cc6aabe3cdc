"""Resampling the blocks of single runs, for many figures at once: a permutation test, and a bootstrap's interval.

Every array has a row for each block and a column for each figure. SciPy has both tests in scipy.stats, which takes
longer to import than a comparison of baselines may last; a test holds these to what it says.
"""

import itertools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 9999
_DRAWS = 2000
_SEED = 20_231_117
_ROUNDING = 1e-9
_ENDLESS = 1e300


def permutation_p(base: Floats, new: Floats) -> Floats:
    """Return the chance of such a difference if it is chance alone which blocks are on which side; by Welch's t.

    All ways of sharing the blocks out are looked at where those are not too many, else PERMUTATIONS random ones and,
    as one of them, that which was seen.
    """
    every = np.concatenate([new, base])
    every = every - every.mean(axis=0)  # squares of large numbers that differ little lose the difference
    is_new, is_all = _shares(len(new), len(every))
    seen = _welch((np.arange(len(every)) < len(new))[None].astype(np.float64), every)[0]
    found = _welch(is_new, every)
    slack = _ROUNDING * np.abs(seen)
    extra = 0 if is_all else 1
    less, more = (np.count_nonzero(side, axis=0) + extra for side in (found <= seen + slack, found >= seen - slack))
    return np.asarray(np.minimum(2 * np.minimum(less, more) / (len(found) + extra), 1.0))


def bootstrap_interval(base: Floats, new: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the interval of new less base, by drawing as many blocks of each side again and again (percentiles)."""
    draw = np.random.default_rng(_SEED)
    means = [
        draw.multinomial(len(side), np.full(len(side), 1 / len(side)), _DRAWS) @ side / len(side)
        for side in (base, new)
    ]
    low, high = np.quantile(means[1] - means[0], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def _shares(count: int, total: int) -> tuple[Floats, bool]:
    """Return ways to choose so many of all blocks: rows of 1 for those chosen, and whether these are all there are."""
    is_all = math.comb(total, count) <= PERMUTATIONS
    if is_all:
        chosen = np.array(list(itertools.combinations(range(total), count)))
    else:
        order = np.random.default_rng(_SEED).random((PERMUTATIONS, total)).argsort(axis=1)
        chosen = order[:, :count]
    rows = np.zeros((len(chosen), total))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows, is_all


def _welch(is_new: Floats, every: Floats) -> Floats:
    """Return Welch's t for each way of sharing out, by figure; endless where neither side has any spread."""
    means, errors = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for side in (is_new, 1 - is_new):
            count = side.sum(axis=1, keepdims=True)
            mean = side @ every / count
            spread = np.maximum(side @ every**2 / count - mean**2, 0.0)
            means.append(mean)
            errors.append(spread / (count - 1))
        found = (means[0] - means[1]) / np.sqrt(errors[0] + errors[1])
    return np.asarray(np.nan_to_num(found, nan=0.0, posinf=_ENDLESS, neginf=-_ENDLESS))
