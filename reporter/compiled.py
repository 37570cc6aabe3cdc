"""Compiled loops over a window's events: each goes through them once, in order of time, with a hash table by its side.

A loop trusts nothing in a recording: keys may be any numbers, and every place that is written to was made here. What
its callers promise (positions within arrays, equal lengths) they check.
"""

import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, Protocol, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba.core import event
from numba.core.runtime.nrt import rtsys

from vio.lessimports import import_without_blas

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

import_without_blas()
_P = ParamSpec("_P")
_R = TypeVar("_R")

_NONE = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile at the first call, and keep the machine code for the next run where there is a place to write it to."""
    try:
        loop = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's directory nor the user's cache can be written
        loop = numba.njit(nogil=True)(function)
    else:
        _forgive(loop._cache)  # type: ignore[attr-defined]
    kept: Callable[_P, _R] = loop
    return kept


class _Cache(Protocol):
    load_overload: Callable[..., object]
    save_overload: Callable[..., object]


def _forgive(cache: _Cache) -> None:
    """Do without what cannot be kept (a full disk) or read back (a file cut short): Numba would raise the error."""

    def forgiving(step: Callable[..., object]) -> Callable[..., object]:
        def try_it(*arguments: object) -> object:
            with suppress(OSError, EOFError, pickle.PickleError):
                return step(*arguments)
            return None

        return try_it

    cache.load_overload, cache.save_overload = forgiving(_loader(cache)), forgiving(cache.save_overload)


def _loader(cache: _Cache) -> Callable[..., object]:
    """Return what loads a kept loop without making the compiler ready, which takes longer than to load all of them.

    Numba does that first in any case (every function that it can compile, by type). Kept machine code needs no more
    than Numba's memory management; where a loop was not kept, the compiler makes itself ready.
    """
    load = getattr(cache, "_load_overload", None)
    if load is None:
        return cache.load_overload

    def load_only(signature: object, target: object) -> object:
        rtsys.initialize(target)
        return load(signature, target)

    return load_only


def before_compiling(tell: Callable[[], None]) -> None:
    """Call `tell` before the first loop is compiled that no earlier run has kept; never, if all are kept."""
    event.register("numba:compile", _Once(tell))  # type: ignore[no-untyped-call]


class _Once(event.Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, event: object) -> None:
        tell, self._tell = self._tell, None
        if tell:
            tell()

    def on_end(self, event: object) -> None:
        pass


@compiled
def place_of(keys: Keys, number: Ints, mask: int, key: np.uint64) -> np.int64:
    """Return the place of a key in a hash table, or the free one where it belongs; half of the places are free."""
    at = np.int64(((key ^ (key >> _HALF)) * _ODD) >> _HALF) & mask
    while number[at] != _NONE and keys[at] != key:
        at = (at + 1) & mask
    return at


@compiled
def new_table(most: int) -> tuple[Keys, Ints]:
    """Return an empty hash table for at most so many keys: keys, and the number of each, -1 where a place is free.

    Only what is used is touched. One that grows would be several times slower: its arrays would have to be counted
    references in the loop.
    """
    size = 64
    while size < 2 * most:
        size *= 2
    return np.empty(size, np.uint64), np.full(size, _NONE, np.int64)


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
    keys, number = new_table(values.size)
    count = 0
    for i in range(values.size):
        at = place_of(keys, number, keys.size - 1, values[i])
        if number[at] == _NONE:
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
def are_of(point: npt.NDArray[np.uint8], event: Ints, is_wanted: Bools) -> Bools:
    """Return which of the events (-1: none) are of a wanted point."""
    found = np.empty(event.size, np.bool_)
    for i in range(event.size):
        found[i] = event[i] >= 0 and is_wanted[point[event[i]]]
    return found


@compiled
def are_among(values: npt.NDArray[np.uint32], few: Ints) -> Bools:
    """Return which of the values are among a few."""
    found = np.zeros(values.size, np.bool_)
    for i in range(values.size):
        for one in few:
            if values[i] == one:
                found[i] = True
    return found


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
