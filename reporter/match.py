"""Matching of begins with ends and of children with parents, over event indices.

Event indices are positions in a time-ordered window, so a smaller index is an earlier event.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools as Bools
from vio.reporter.compiled import Ints as Ints
from vio.reporter.compiled import Keys as Keys
from vio.reporter.compiled import number_keys, order_by_number, pick
from vio.reporter.pairing import first_keyed, latest_keyed, pair_keys

NONE = -1
_SAMPLE = 1 << 14  # enough to learn a constant from


@dataclass(frozen=True, slots=True)
class Pairs:
    """For each begin the position of its end in `end` (or -1), and whether the choice was ambiguous."""

    end: Ints
    is_ambiguous: Bools


def codes_of(keys: Keys) -> Ints:
    """Number equal keys alike, by small numbers."""
    return number_keys(np.ascontiguousarray(keys))[0]


def stable_order(codes: Ints) -> Ints:
    """Return a stable order by code; codes are small numbers, none negative."""
    if codes.size and codes.min() < 0:
        raise ValueError("a code is negative")
    return order_by_number(codes, int(codes.max(initial=-1)) + 1)


def picked(values: Ints, position: Ints) -> Ints:
    """Return the value at each position, -1 where the position is -1."""
    return pick(values, position)


def pair(begin: Ints, begin_key: Keys, end: Ints, end_key: Keys) -> Pairs:
    """Match each begin with the end that has the same key, first begun first ended.

    `begin` and `end` are event indices in ascending order. Where begins of one key overlap and the numbers of begins
    and ends differ, only a begin directly followed by an end is matched, and it is ambiguous.
    """
    _check(begin, begin_key, end, end_key)
    if not begin.size or not end.size:
        return Pairs(np.full(begin.size, NONE, dtype=np.int64), np.zeros(begin.size, dtype=np.bool_))
    return Pairs(*pair_keys(begin, _in_a_row(begin_key), end, _in_a_row(end_key)))


def latest_before(child: Ints, child_key: Keys, parent: Ints, parent_key: Keys) -> Ints:
    """For each child the position in `parent` of the latest earlier parent with the same key, or -1.

    `child` and `parent` are event indices in ascending order.
    """
    _check(child, child_key, parent, parent_key)
    if not child.size or not parent.size:
        return np.full(child.size, NONE, dtype=np.int64)
    return latest_keyed(child, _in_a_row(child_key), parent, _in_a_row(parent_key))


def first_after(child: Ints, child_key: Keys, later: Ints, later_key: Keys) -> Ints:
    """For each child the position in `later` of the first later event with the same key, or -1."""
    _check(child, child_key, later, later_key)
    if not child.size or not later.size:
        return np.full(child.size, NONE, dtype=np.int64)
    return first_keyed(child, _in_a_row(child_key), later, _in_a_row(later_key))


def _in_a_row(keys: Keys) -> Keys:
    """Return the keys without gaps between them: compiled code is made for one layout."""
    return np.ascontiguousarray(keys)


def _check(first: Ints, first_key: Keys, second: Ints, second_key: Keys) -> None:
    if first.size != first_key.size or second.size != second_key.size:
        raise ValueError("each event needs a key")


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
