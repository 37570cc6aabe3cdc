"""Vectorised matching of begins with ends and of children with parents; pure NumPy over event indices.

Event indices are positions in a time-ordered window, so a smaller index is an earlier event.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]

NONE = -1
_SAMPLE = 1 << 14  # enough to learn a constant from


@dataclass(frozen=True, slots=True)
class Pairs:
    """For each begin the position of its end in `end` (or -1), and whether the choice was ambiguous."""

    end: Ints
    is_ambiguous: Bools


def codes_of(keys: Keys) -> Ints:
    """Number equal keys alike, by small numbers."""
    if keys.size:
        least = keys.min()
        if int(keys.max() - least) < 1 << 16:
            return np.asarray((keys - least).astype(np.int64))
    codes, _ = pd.factorize(keys)
    return np.asarray(codes, dtype=np.int64)


def stable_order(codes: Ints) -> Ints:
    """Return a stable order by code; a radix sort where the codes fit into 16 bits."""
    if codes.size and int(codes.max()) < 1 << 16:
        return np.argsort(codes.astype(np.uint16), kind="stable").astype(np.int64, copy=False)
    return np.argsort(codes, kind="stable").astype(np.int64, copy=False)


def picked(values: Ints, position: Ints) -> Ints:
    """Return the value at each position, -1 where the position is -1."""
    return np.where(position >= 0, values[position], NONE) if values.size else np.full(position.size, NONE)


def pair(begin: Ints, begin_key: Keys, end: Ints, end_key: Keys) -> Pairs:
    """Match each begin with the end that has the same key, first begun first ended.

    `begin` and `end` are event indices in ascending order. Where begins of one key overlap and the numbers of begins
    and ends differ, only a begin directly followed by an end is matched, and it is ambiguous.
    """
    count = begin.size
    matched = np.full(count, NONE, dtype=np.int64)
    ambiguous = np.zeros(count, dtype=np.bool_)
    if not count or not end.size:
        return Pairs(matched, ambiguous)
    in_time = np.argsort(np.concatenate([begin, end]), kind="stable")
    codes = codes_of(np.concatenate([begin_key, end_key]))[in_time]
    grouped = stable_order(codes)
    who = in_time[grouped]
    codes = codes[grouped]
    is_begin = who < count
    same_next = codes[:-1] == codes[1:]
    follows = np.flatnonzero(is_begin[:-1] & ~is_begin[1:] & same_next)
    matched[who[follows]] = who[follows + 1] - count
    overlaps = is_begin[:-1] & is_begin[1:] & same_next
    if overlaps.any():
        _pair_overlapping(who, codes, is_begin, np.unique(codes[:-1][overlaps]), count, matched, ambiguous)
    return Pairs(matched, ambiguous)


def _pair_overlapping(
    who: Ints, codes: Ints, is_begin: Bools, hot: Ints, count: int, matched: Ints, ambiguous: Bools
) -> None:
    """Redo the groups in which begins overlap: first in, first out, over each stretch that is balanced."""
    chosen = np.flatnonzero(np.isin(codes, hot))
    sign = np.where(is_begin[chosen], 1, -1)
    starts = np.flatnonzero(np.concatenate([[True], codes[chosen][1:] != codes[chosen][:-1]]))
    total = np.cumsum(sign)
    base = np.repeat(total[starts] - sign[starts], np.diff(np.append(starts, chosen.size)))
    depth = total - base
    # A stretch ends where the depth returns to zero, or with its group.
    last = np.zeros(chosen.size, dtype=np.bool_)
    last[np.append(starts[1:] - 1, chosen.size - 1)] = True
    closes = (depth == 0) | last
    stretch = np.concatenate([[0], np.cumsum(closes)[:-1]])
    stretches = int(stretch[-1]) + 1
    lowest = np.full(stretches, np.iinfo(np.int64).max)
    np.minimum.at(lowest, stretch, depth)
    balance = np.bincount(stretch, weights=sign, minlength=stretches)
    is_balanced = ((balance == 0) & (lowest >= 0))[stretch]
    firsts = chosen[is_balanced & (sign > 0)]
    seconds = chosen[is_balanced & (sign < 0)]
    matched[who[firsts]] = who[seconds] - count
    doubtful = who[chosen[~is_balanced & (sign > 0)]]
    ambiguous[doubtful] = True


def latest_before(child: Ints, child_key: Keys, parent: Ints, parent_key: Keys) -> Ints:
    """For each child the position in `parent` of the latest earlier parent with the same key, or -1."""
    found = np.full(child.size, NONE, dtype=np.int64)
    if not child.size or not parent.size:
        return found
    in_time = np.argsort(np.concatenate([parent, child]), kind="stable")
    codes = codes_of(np.concatenate([parent_key, child_key]))[in_time]
    grouped = stable_order(codes)
    who = in_time[grouped]
    codes = codes[grouped]
    is_parent = who < parent.size
    place = np.where(is_parent, np.arange(who.size), NONE)
    latest = np.maximum.accumulate(place)
    is_same = (latest >= 0) & (codes[np.maximum(latest, 0)] == codes)
    ask = ~is_parent & is_same
    found[who[ask] - parent.size] = who[latest[ask]]
    return found


def first_after(child: Ints, child_key: Keys, later: Ints, later_key: Keys) -> Ints:
    """For each child the position in `later` of the first later event with the same key, or -1."""
    found = latest_before(-child[::-1], child_key[::-1], -later[::-1], later_key[::-1])[::-1]
    return np.where(found >= 0, later.size - 1 - found, NONE)


def usual_gap(upper: npt.NDArray[np.uint32], lower: npt.NDArray[np.uint32], limit: int) -> int | None:
    """Return the commonest distance from an upper value down to the nearest lower one, if it is below `limit`.

    A frame on a stack and a structure inside that frame are a fixed distance apart, which depends on the build.
    """
    tops, counts = np.unique(upper[:_SAMPLE], return_counts=True)
    bottoms = np.unique(lower[:_SAMPLE])
    if not tops.size or not bottoms.size:
        return None
    below = np.searchsorted(bottoms, tops, side="right") - 1
    gap = tops.astype(np.int64) - bottoms[np.maximum(below, 0)].astype(np.int64)
    is_near = (below >= 0) & (gap < limit)
    if not is_near.any():
        return None
    values, inverse = np.unique(gap[is_near], return_inverse=True)
    return int(values[np.argmax(np.bincount(inverse, weights=counts[is_near]))])
