"""The same addresses at every storey: ranges of one space followed through all maps below, and taken back up."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vio.mappers.extent import NOWHERE
from vio.mappers.kind import Bools, Ints, Kind, Kinds, base_of, is_encoded
from vio.mappers.timed import MapSet, TimedMap

Place = tuple[str, int]
"""An address space, and the copy of the data in it: 0 the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Ranges cut into pieces that are in one piece everywhere: a row for each.

    `request` is the index of the range, `start` and `length` are bytes of `space`, -1 where it is not part of it.
    `places` has a column of addresses (-1: none) for each space below and copy, nearest first. `kind` is that of
    the first map, where that has no address below, else of the lowest one that says anything.
    """

    space: str
    request: Ints
    start: Ints
    length: Ints
    kind: Kinds
    places: dict[Place, Ints]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Ints) -> "Trail":
        """Keep rows, in this order, as often as they are named."""
        places = {place: column[rows] for place, column in self.places.items()}
        columns = (self.request[rows], self.start[rows], self.length[rows], self.kind[rows])
        return Trail(self.space, *columns, places)


def trace(maps: MapSet, at_ns: int, space: str, offsets: npt.ArrayLike, lengths: npt.ArrayLike) -> Trail:
    """Follow ranges of a space down through all maps of a time."""
    start = np.atleast_1d(np.asarray(offsets, dtype=np.int64))
    length = np.broadcast_to(np.asarray(lengths, dtype=np.int64), start.shape).copy()
    kind = np.full(len(start), Kind.UNMAPPED, dtype=np.uint8)
    trail = Trail(space, np.arange(len(start)), start, length, kind, {(space, 0): start})
    for upper, timed in _downwards(maps, at_ns, space):
        trail = _step(trail, upper, timed)
    del trail.places[space, 0]
    return trail


def trace_up(maps: MapSet, at_ns: int, top: str, space: str, offsets: npt.ArrayLike, lengths: npt.ArrayLike) -> Trail:
    """Take ranges of a lower space up to `top`, and follow them down from there; request by request.

    What is not of `top` comes out with a start of -1, at its place in `space` alone. Where several copies or several
    addresses of `top` share a place, there is a piece for each.
    """
    start = np.atleast_1d(np.asarray(offsets, dtype=np.int64))
    length = np.broadcast_to(np.asarray(lengths, dtype=np.int64), start.shape)
    found: list[tuple[Ints, Ints, Ints]] = []
    owned: list[tuple[Ints, Ints, Ints]] = []
    for ranges in maps.reach(top, at_ns):
        if ranges.target_space == space:
            pieces = ranges.invert().lookup(start, length)
            is_mine = base_of(pieces.kind) != Kind.UNMAPPED
            size = np.where(is_encoded(pieces.kind), pieces.target_length, pieces.length)
            found.append((pieces.request[is_mine], pieces.target[is_mine], size[is_mine]))
            owned.append((pieces.request[is_mine], pieces.start[is_mine], pieces.length[is_mine]))
    request, above, size = _stacked(found)
    down = trace(maps, at_ns, top, above, size)
    down = replace(down, request=request[down.request])
    return _joined(down, _rest(top, space, start, length, _stacked(owned)))


def _downwards(maps: MapSet, at_ns: int, space: str) -> Iterator[tuple[Place, TimedMap]]:
    """Yield each map below a space once, those of upper storeys first, with the place that it starts from."""
    waiting: list[Place] = [(space, 0)]
    seen = {(space, 0)}
    while waiting:
        upper = waiting.pop(0)
        for timed in maps.timed_at(upper[0], at_ns):
            yield upper, timed
            place = (timed.map.target_space, max(timed.copy, upper[1]))
            if place not in seen:
                seen.add(place)
                waiting.append(place)


def _step(trail: Trail, upper: Place, timed: TimedMap) -> Trail:
    """Look the addresses of one place up in a map, cutting the pieces where the map does."""
    lower = (timed.map.target_space, max(timed.copy, upper[1]))
    address = trail.places[upper]
    placed = np.flatnonzero(address >= 0)
    whole = is_encoded(trail.kind[placed])  # compressed: its place is one, however long the range
    pieces = timed.map.lookup(address[placed], np.where(whole, 1, trail.length[placed]))
    row = placed[pieces.request]
    cut = trail.take(row)
    ahead = np.where(whole[pieces.request], 0, pieces.start - address[row])
    length = np.where(whole[pieces.request], trail.length[row], pieces.length)
    says = base_of(pieces.kind) != Kind.UNMAPPED
    kind = np.where(says & _is_open(cut.kind), pieces.kind, cut.kind)
    known = cut.places.get(lower, np.full(len(row), NOWHERE))
    places = {place: np.where(column >= 0, column + ahead, NOWHERE) for place, column in cut.places.items()}
    places[lower] = np.where(pieces.target >= 0, pieces.target, np.where(known >= 0, known + ahead, NOWHERE))
    start = np.where(cut.start >= 0, cut.start + ahead, NOWHERE)
    moved = Trail(trail.space, cut.request, start, length, kind, places)
    others = trail.take(np.flatnonzero(address < 0))
    others.places.setdefault(lower, np.full(len(others), NOWHERE))
    return _joined(moved, others)


def _is_open(kind: Kinds) -> Bools:
    """Tell the kinds that a map below may say more about: data in place, and what reads a backing file."""
    base = base_of(kind)
    return np.asarray((base == Kind.UNMAPPED) | (base == Kind.MAPPED) | (base == Kind.UNALLOCATED), dtype=np.bool_)


def _rest(top: str, space: str, start: Ints, length: Ints, owned: tuple[Ints, Ints, Ints]) -> Trail:
    """Give what of the ranges of a space nobody above owns."""
    request, begin, size = owned
    parts: list[tuple[Ints, Ints, Ints]] = []
    for number in range(len(start)):
        mine = request == number
        order = np.argsort(begin[mine], kind="stable")
        ends = np.maximum.accumulate((begin[mine] + size[mine])[order]) if mine.any() else begin[mine]
        gap_begin = np.concatenate([start[number : number + 1], ends])
        gap_end = np.concatenate([begin[mine][order], start[number : number + 1] + length[number]])
        kept = gap_end > gap_begin
        parts.append((np.full(int(kept.sum()), number), gap_begin[kept], (gap_end - gap_begin)[kept]))
    numbers, begins, sizes = _stacked(parts)
    kind = np.full(len(begins), Kind.UNMAPPED, dtype=np.uint8)
    return Trail(top, numbers, np.full(len(begins), NOWHERE), sizes, kind, {(space, 0): begins})


def _joined(one: Trail, other: Trail) -> Trail:
    places = dict.fromkeys([*one.places, *other.places])
    columns = {
        place: np.concatenate([part.places.get(place, np.full(len(part), NOWHERE)) for part in (one, other)])
        for place in places
    }
    pairs = ((one.request, other.request), (one.start, other.start), (one.length, other.length))
    request, start, length = (np.concatenate(pair) for pair in pairs)
    joined = Trail(one.space, request, start, length, np.concatenate([one.kind, other.kind]), columns)
    return joined.take(np.lexsort((start, request)))


def _stacked(parts: list[tuple[Ints, Ints, Ints]]) -> tuple[Ints, Ints, Ints]:
    none = np.empty(0, dtype=np.int64)
    first, second, third = (np.concatenate([none, *(part[n] for part in parts)]) for n in range(3))
    return first, second, third
