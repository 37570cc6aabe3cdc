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
def new_table() -> tuple[Keys, Ints]:
    """Return an empty hash table: keys, and the number of each, -1 where a place is free."""
    return np.empty(_FEW, np.uint64), np.full(_FEW, _NONE, np.int64)


@compiled
def grown(keys: Keys, number: Ints) -> tuple[Keys, Ints]:
    """Return a hash table with four times as many places."""
    more_keys, more_number = np.empty(4 * keys.size, np.uint64), np.full(4 * keys.size, _NONE, np.int64)
    for at in range(keys.size):
        if number[at] != _NONE:
            place = place_of(more_keys, more_number, more_keys.size - 1, keys[at])
            more_keys[place] = keys[at]
            more_number[place] = number[at]
    return more_keys, more_number


@compiled
def take_out(keys: Keys, number: Ints, at: np.int64) -> None:
    """Free a place of a hash table; what had to make way for its key moves up."""
    mask = keys.size - 1
    hole = at
    number[hole] = _NONE
    at = (at + 1) & mask
    while number[at] != _NONE:
        home = np.int64(((keys[at] ^ (keys[at] >> _HALF)) * _ODD) >> _HALF) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            keys[hole], number[hole] = keys[at], number[at]
            number[at] = _NONE
            hole = at
        at = (at + 1) & mask


@compiled
def number_keys(values: Keys) -> tuple[Ints, int]:
    """Number the keys in the order in which each comes first; return the numbers, and how many there are."""
    codes = np.empty(values.size, np.int64)
    keys, number = new_table()
    count = 0
    for i in range(values.size):
        at = place_of(keys, number, keys.size - 1, values[i])
        if number[at] == _NONE:
            if 2 * count >= keys.size:
                keys, number = grown(keys, number)
                at = place_of(keys, number, keys.size - 1, values[i])
            keys[at] = values[i]
            number[at] = count
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
def append_spans(
    owners: Ints,
    stages: Ints,
    begins: Ints,
    ends: Ints,
    count: int,
    stage: int,
    owner: Ints,
    via: Ints,
    begin: Ints,
    end: Ints,
) -> int:
    """Append what has an owner (or `via` of it, unless that is empty) and a begin; return how many there are then."""
    for i in range(owner.size):
        final = owner[i]
        if final >= 0 and via.size:
            final = via[final]
        if final >= 0 and begin[i] >= 0:
            owners[count], stages[count], begins[count], ends[count] = final, stage, begin[i], end[i]
            count += 1
    return count


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
