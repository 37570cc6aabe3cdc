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

_P = ParamSpec("_P")
_R = TypeVar("_R")

_FREE = -2  # a place of a hash table without a key
_NONE = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile at the first call, and keep the machine code on the disk for the next run."""
    loop: Callable[_P, _R] = numba.njit(cache=True, nogil=True)(function)
    return loop


@compiled
def table_size(count: int) -> int:
    """Return how many places a hash table of so many keys has: a power of two, at most half of them taken."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@compiled
def place_of(keys: Keys, state: Ints, key: np.uint64) -> int:
    """Return the place of a key in a hash table, or the free one where it belongs; never all places are taken."""
    mask = keys.size - 1
    at = np.int64(((key ^ (key >> _HALF)) * _ODD) >> _HALF) & mask
    while state[at] != _FREE and keys[at] != key:
        at = (at + 1) & mask
    return at


@compiled
def pair_in_order(begin: Ints, begin_key: Keys, end: Ints, end_key: Keys) -> tuple[Ints, Bools]:
    """Match begins with ends (match.pair)."""
    matched = np.full(begin.size, _NONE, np.int64)
    ambiguous = np.zeros(begin.size, np.bool_)
    size = table_size(begin.size + end.size)
    keys = np.empty(size, np.uint64)
    state = np.full(size, _FREE, np.int64)  # the begin that came last with this key, _NONE after an end
    is_hot = np.zeros(size, np.bool_)  # keys of which two begins follow each other
    any_hot = False
    i = j = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            at = place_of(keys, state, begin_key[i])
            if state[at] >= 0:
                is_hot[at] = any_hot = True
            keys[at] = begin_key[i]
            state[at] = i
            i += 1
        else:
            at = place_of(keys, state, end_key[j])
            if state[at] >= 0:
                matched[state[at]] = j
            keys[at] = end_key[j]
            state[at] = _NONE
            j += 1
    if any_hot:
        pair_overlapping(begin, begin_key, end, end_key, keys, state, is_hot, matched, ambiguous)
    return matched, ambiguous


@compiled
def pair_overlapping(
    begin: Ints,
    begin_key: Keys,
    end: Ints,
    end_key: Keys,
    keys: Keys,
    state: Ints,
    is_hot: Bools,
    matched: Ints,
    ambiguous: Bools,
) -> None:
    """Redo the keys of which begins overlap: first in, first out, over each stretch that is balanced.

    A stretch begins where as many have begun as ended. One that begins with an end is never balanced.
    """
    depth = np.zeros(keys.size, np.int64)
    first = np.full(keys.size, _NONE, np.int64)  # of the stretch
    last = np.full(keys.size, _NONE, np.int64)
    front = np.full(keys.size, _NONE, np.int64)  # the first without an end
    following = np.full(begin.size, _NONE, np.int64)  # in the stretch
    found = np.full(begin.size, _NONE, np.int64)
    i = j = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            at = place_of(keys, state, begin_key[i])
            if is_hot[at]:
                if depth[at] < 0:
                    ambiguous[i] = True
                elif depth[at] == 0:
                    first[at] = last[at] = front[at] = i
                else:
                    following[last[at]] = i
                    last[at] = i
                depth[at] += 1
            i += 1
        else:
            at = place_of(keys, state, end_key[j])
            if is_hot[at]:
                depth[at] -= 1
                if depth[at] >= 0:
                    found[front[at]] = j
                    front[at] = following[front[at]]
                if depth[at] == 0:
                    one = first[at]
                    while one != _NONE:
                        matched[one] = found[one]
                        one = following[one]
            j += 1
    for at in range(keys.size):
        if depth[at] > 0:
            one = first[at]
            while one != _NONE:
                ambiguous[one] = True
                one = following[one]


@compiled
def latest_in_order(child: Ints, child_key: Keys, parent: Ints, parent_key: Keys) -> Ints:
    """Find the latest parent of each child (match.latest_before)."""
    found = np.full(child.size, _NONE, np.int64)
    size = table_size(parent.size)
    keys = np.empty(size, np.uint64)
    state = np.full(size, _FREE, np.int64)  # the parent that came last with this key
    j = 0
    for i in range(child.size):
        while j < parent.size and parent[j] <= child[i]:
            at = place_of(keys, state, parent_key[j])
            keys[at] = parent_key[j]
            state[at] = j
            j += 1
        at = place_of(keys, state, child_key[i])
        if state[at] >= 0:
            found[i] = state[at]
    return found


@compiled
def number_keys(values: Keys) -> tuple[Ints, int]:
    """Number the keys in the order in which each comes first; return the numbers, and how many there are."""
    codes = np.empty(values.size, np.int64)
    size = table_size(values.size)
    keys = np.empty(size, np.uint64)
    state = np.full(size, _FREE, np.int64)
    count = 0
    for i in range(values.size):
        at = place_of(keys, state, values[i])
        if state[at] == _FREE:
            keys[at] = values[i]
            state[at] = count
            count += 1
        codes[i] = state[at]
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
