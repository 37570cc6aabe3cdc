"""Compiled loops over a window's events: each goes through them once, in order of time, with a hash table by its side.

A loop trusts nothing in a recording: keys may be any numbers, and every place that is written to was made here. What
its callers promise (positions within arrays, equal lengths) they check.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_NONE = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_FEW = 1024  # places that a hash table begins with: threads, stacks and pointers that are used again are few


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile at the first call, and keep the machine code for the next run where there is a place to write it to."""
    try:
        kept: Callable[_P, _R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's directory nor the user's cache can be written
        return _compiled_anew(function)
    return kept


def _compiled_anew(function: Callable[_P, _R]) -> Callable[_P, _R]:
    loop: Callable[_P, _R] = numba.njit(nogil=True)(function)
    return loop


@compiled
def place_of(keys: Keys, number: Ints, mask: int, key: np.uint64) -> np.int64:
    """Return the place of a key in a hash table, or the free one where it belongs; half of the places are free."""
    at = np.int64(((key ^ (key >> _HALF)) * _ODD) >> _HALF) & mask
    while number[at] != _NONE and keys[at] != key:
        at = (at + 1) & mask
    return at


@compiled
def number_keys(values: Keys) -> tuple[Ints, int]:
    """Number the keys in the order in which each comes first; return the numbers, and how many there are."""
    codes = np.empty(values.size, np.int64)
    most = _FEW
    while most < 2 * values.size:
        most *= 2
    # A table for the most keys, of which only as much is used, and touched, as the keys so far need.
    keys = np.empty(most, np.uint64)
    number = np.empty(most, np.int64)
    first = np.empty(values.size, np.int64)  # of each number
    size = _FEW
    number[:size] = _NONE
    count = 0
    for i in range(values.size):
        at = place_of(keys, number, size - 1, values[i])
        if number[at] == _NONE:
            if 2 * count >= size:
                size = most if 4 * count > i else min(4 * size, most)  # at once, if most keys are new
                number[:size] = _NONE
                for old in range(count):
                    at = place_of(keys, number, size - 1, values[first[old]])
                    keys[at] = values[first[old]]
                    number[at] = old
                at = place_of(keys, number, size - 1, values[i])
            keys[at] = values[i]
            number[at] = count
            first[count] = i
            count += 1
        codes[i] = number[at]
    return codes, count


@compiled
def order_by_number(codes: Ints, count: int) -> Ints:
    """Return the stable order of numbers from 0 to `count` - 1, by counting."""
    place = np.zeros(count + 1, np.int64)
    for code in codes:
        place[code + 1] += 1
    for number in range(count):
        place[number + 1] += place[number]
    order = np.empty(codes.size, np.int64)
    for i in range(codes.size):
        order[place[codes[i]]] = i
        place[codes[i]] += 1
    return order


@compiled
def pair_in_order(begin: Ints, begin_code: Ints, end: Ints, end_code: Ints, count: int) -> tuple[Ints, Bools]:
    """Match begins with ends (match.pair), of which the keys have numbers below `count`."""
    matched = np.full(begin.size, _NONE, np.int64)
    ambiguous = np.zeros(begin.size, np.bool_)
    latest = np.full(count, _NONE, np.int64)  # the begin that came last with this key; none after an end
    is_hot = np.zeros(count, np.bool_)  # keys of which two begins follow each other
    any_hot = False
    i = j = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            code = begin_code[i]
            if latest[code] >= 0:
                is_hot[code] = any_hot = True
            latest[code] = i
            i += 1
        else:
            code = end_code[j]
            if latest[code] >= 0:
                matched[latest[code]] = j
                latest[code] = _NONE
            j += 1
    if any_hot:
        pair_overlapping(begin, begin_code, end, end_code, is_hot, matched, ambiguous)
    return matched, ambiguous


@compiled
def pair_overlapping(
    begin: Ints, begin_code: Ints, end: Ints, end_code: Ints, is_hot: Bools, matched: Ints, ambiguous: Bools
) -> None:
    """Redo the keys of which begins overlap: first in, first out, over each stretch that is balanced.

    A stretch begins where as many have begun as ended. One that begins with an end is never balanced.
    """
    depth = np.zeros(is_hot.size, np.int64)
    first = np.full(is_hot.size, _NONE, np.int64)  # of the stretch
    last = np.full(is_hot.size, _NONE, np.int64)
    front = np.full(is_hot.size, _NONE, np.int64)  # the first without an end
    following = np.full(begin.size, _NONE, np.int64)  # in the stretch
    found = np.full(begin.size, _NONE, np.int64)
    i = j = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            code = begin_code[i]
            if is_hot[code]:
                if depth[code] < 0:
                    ambiguous[i] = True
                elif depth[code] == 0:
                    first[code] = last[code] = front[code] = i
                else:
                    following[last[code]] = i
                    if front[code] == _NONE:
                        front[code] = i
                    last[code] = i
                depth[code] += 1
            i += 1
        else:
            code = end_code[j]
            if is_hot[code]:
                depth[code] -= 1
                if depth[code] >= 0:
                    found[front[code]] = j
                    front[code] = following[front[code]]
                if depth[code] == 0:
                    one = first[code]
                    while one != _NONE:
                        matched[one] = found[one]
                        one = following[one]
            j += 1
    for code in range(is_hot.size):
        if depth[code] > 0:
            one = first[code]
            while one != _NONE:
                ambiguous[one] = True
                one = following[one]


@compiled
def latest_in_order(child: Ints, child_code: Ints, parent: Ints, parent_code: Ints, count: int) -> Ints:
    """Find the latest parent of each child (match.latest_before), of which the keys have numbers below `count`."""
    found = np.empty(child.size, np.int64)
    latest = np.full(count, _NONE, np.int64)
    j = 0
    for i in range(child.size):
        while j < parent.size and parent[j] <= child[i]:
            latest[parent_code[j]] = j
            j += 1
        found[i] = latest[child_code[i]]
    return found


@compiled
def pick(values: Ints, position: Ints) -> Ints:
    """Return the value at each position, -1 where there is no such position."""
    found = np.empty(position.size, np.int64)
    for i in range(position.size):
        found[i] = values[position[i]] if 0 <= position[i] < values.size else _NONE
    return found


@compiled
def hand_on(owner: Ints, old_owner: Ints, new_owner: Ints) -> tuple[Ints, Ints]:
    """Return the places of what each `old_owner[i]` owns, and `new_owner[i]` for each; owners are not negative."""
    owners = 0
    for one in owner:
        owners = max(owners, one + 1)
    place = np.zeros(owners + 1, np.int64)
    for one in owner:
        place[one + 1] += 1
    for number in range(owners):
        place[number + 1] += place[number]
    owned = np.empty(owner.size, np.int64)
    at = place[:-1].copy()
    for i in range(owner.size):
        owned[at[owner[i]]] = i
        at[owner[i]] += 1
    total = 0
    for old in old_owner:
        if 0 <= old < owners:
            total += place[old + 1] - place[old]
    which, given = np.empty(total, np.int64), np.empty(total, np.int64)
    total = 0
    for i in range(old_owner.size):
        if 0 <= old_owner[i] < owners:
            for position in range(place[old_owner[i]], place[old_owner[i] + 1]):
                which[total] = owned[position]
                given[total] = new_owner[i]
                total += 1
    return which, given


@compiled
def having_both(owner: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints, Ints]:
    """Return what has an owner and a begin: both, and the end."""
    count = 0
    for i in range(owner.size):
        count += owner[i] >= 0 and begin[i] >= 0
    owners, begins, ends = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    at = 0
    for i in range(owner.size):
        if owner[i] >= 0 and begin[i] >= 0:
            owners[at], begins[at], ends[at] = owner[i], begin[i], end[i]
            at += 1
    return owners, begins, ends


@compiled
def order_by_point(points: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Return the stable order of the events by point, and where in it each of the 256 points begins and ends."""
    bounds = np.zeros(257, np.int64)
    for point in points:
        bounds[point + 1] += 1
    for number in range(256):
        bounds[number + 1] += bounds[number]
    place = bounds[:-1].copy()
    order = np.empty(points.size, np.int64)
    for i in range(points.size):
        order[place[points[i]]] = i
        place[points[i]] += 1
    return order, bounds


@compiled
def count_in_buckets(values: Floats, upper: Ints, shift: int, base: int, buckets: Ints) -> tuple[float, float]:
    """Count values in their buckets, and return the least and the largest; `upper` are the values' bits.

    A bucket's number is the bits shifted, less `base`, and at least 0. What is beyond the last bucket, or not a number,
    is counted in none.
    """
    least, largest = np.inf, -np.inf
    for i in range(values.size):
        least = min(least, values[i])
        largest = max(largest, values[i])
        bucket = max((upper[i] >> shift) - base, 0)
        if bucket < buckets.size:
            buckets[bucket] += 1
    return least, largest
