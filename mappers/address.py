"""The same addresses at every storey: ranges of one space followed through all maps below, and taken back up."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vio.mappers.extent import NOWHERE
from vio.mappers.interval import without_overlap
from vio.mappers.kind import FLAG_MASK, Bools, Ints, Kind, Kinds, base_of, is_encoded
from vio.mappers.timed import MapSet, TimedMap

Place = tuple[str, int]
"""An address space, and the copy of the data in it: 0 the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Ranges cut into pieces that are in one piece everywhere: a row for each.

    `request` is the index of the range, `start` and `length` are bytes of `space`, -1 where it is not part of it.
    `places` has a column of addresses (-1: none) for each space below and copy, nearest first. `kind` is that of
    the first map, where that has no address below, else of the lowest one that says anything, with the flags of all.
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

    def cut(self, rows: Ints, ahead: Ints, length: Ints) -> "Trail":
        """Give parts of rows: `length` bytes from `ahead` bytes on; compressed data keeps its one address."""
        some = self.take(rows)
        inside = np.where(is_encoded(some.kind), 0, ahead)
        places = {place: np.where(column >= 0, column + inside, NOWHERE) for place, column in some.places.items()}
        start = np.where(some.start >= 0, some.start + ahead, NOWHERE)
        return Trail(self.space, some.request, start, length, some.kind, places)


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
    rest = below_only(maps, at_ns, top, space, *_unowned(start, length, _stacked(owned)))
    return joined(down, rest)


def below_only(maps: MapSet, at_ns: int, top: str, space: str, request: Ints, start: Ints, length: Ints) -> Trail:
    """Follow ranges of a space that are not of `top`: a trail of `top` whose starts are all -1."""
    down = trace(maps, at_ns, space, start, length)
    places = {(space, 0): down.start, **down.places}
    nowhere = np.full(len(down), NOWHERE)
    kind = np.full(len(down), Kind.UNMAPPED, dtype=np.uint8)
    return Trail(top, request[down.request], nowhere, down.length, kind, places)


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
    ahead = np.where(whole[pieces.request], 0, pieces.start - address[row])
    length = np.where(whole[pieces.request], trail.length[row], pieces.length)
    moved = trail.cut(row, ahead, length)
    says = base_of(pieces.kind) != Kind.UNMAPPED
    flags = moved.kind & np.uint8(FLAG_MASK)
    kind = np.where(says & _is_open(moved.kind), pieces.kind | flags, moved.kind)
    known = moved.places.get(lower, np.full(len(row), NOWHERE))
    moved.places[lower] = np.where(pieces.target >= 0, pieces.target, known)
    moved = replace(moved, kind=kind)
    others = trail.take(np.flatnonzero(address < 0))
    others.places.setdefault(lower, np.full(len(others), NOWHERE))
    return joined(moved, others)


def _is_open(kind: Kinds) -> Bools:
    """Tell the kinds that a map below may say more about: data in place, and what reads a backing file."""
    base = base_of(kind)
    return np.asarray((base == Kind.UNMAPPED) | (base == Kind.MAPPED) | (base == Kind.UNALLOCATED), dtype=np.bool_)


def _unowned(start: Ints, length: Ints, owned: tuple[Ints, Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    """Give what of some ranges nobody above owns: index of the range, start and length."""
    request, begin, size = owned
    parts: list[tuple[Ints, Ints, Ints]] = []
    for number in range(len(start)):
        mine = request == number
        begins, ends = without_overlap(begin[mine], begin[mine] + size[mine])
        gap_begin = np.concatenate([start[number : number + 1], ends])
        gap_end = np.concatenate([begins, start[number : number + 1] + length[number]])
        kept = gap_end > gap_begin
        parts.append((np.full(int(kept.sum()), number), gap_begin[kept], (gap_end - gap_begin)[kept]))
    return _stacked(parts)


def joined(one: Trail, other: Trail) -> Trail:
    """Put the pieces of two trails together, by request and place in the upper space."""
    places = dict.fromkeys([*one.places, *other.places])
    columns = {
        place: np.concatenate([part.places.get(place, np.full(len(part), NOWHERE)) for part in (one, other)])
        for place in places
    }
    pairs = ((one.request, other.request), (one.start, other.start), (one.length, other.length))
    request, start, length = (np.concatenate(pair) for pair in pairs)
    both = Trail(one.space, request, start, length, np.concatenate([one.kind, other.kind]), columns)
    return both.take(np.lexsort((start, request)))


def _stacked(parts: list[tuple[Ints, Ints, Ints]]) -> tuple[Ints, Ints, Ints]:
    none = np.empty(0, dtype=np.int64)
    first, second, third = (np.concatenate([none, *(part[n] for part in parts)]) for n in range(3))
    return first, second, third
