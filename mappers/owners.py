"""Whose a piece of an address is, besides the guest's data: a table of the image file, a file of the guest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vio.mappers.address import Trail, below_only, joined, trace_up
from vio.mappers.kind import Ints
from vio.mappers.level import Level
from vio.mappers.named import NOBODY, NamedRanges
from vio.mappers.timed import MapSet

_MARK = ("", 0)


@dataclass(frozen=True, slots=True)
class OwnedTrail:
    """A trail, and for each piece the name of its owner, "" where none is known, and the place inside that."""

    trail: Trail
    owners: tuple[str, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, trail: Trail, owner: str = "") -> "OwnedTrail":
        """Let one owner have all pieces."""
        return cls(trail, (owner,) * len(trail), (0,) * len(trail))

    def take(self, rows: Ints) -> "OwnedTrail":
        """Keep rows, in this order."""
        owners, offsets = (tuple(column[row] for row in rows.tolist()) for column in (self.owners, self.offsets))
        return OwnedTrail(self.trail.take(rows), owners, offsets)


def with_metadata(owned: OwnedTrail, space: str, levels: Sequence[Level], maps: MapSet, at_ns: int) -> OwnedTrail:
    """Find among the pieces that are not of the guest disk the tables of its images, cut and named.

    `space` is where the pieces' addresses were asked for.
    """
    for level in levels:
        if level.areas is not None:
            owned = _with_areas(owned, space, level.areas, maps, at_ns)
    return owned


def _with_areas(owned: OwnedTrail, space: str, areas: NamedRanges, maps: MapSet, at_ns: int) -> OwnedTrail:
    trail = owned.trail
    column = trail.places.get((space, 0), np.full(len(trail), -1))
    nobodys = np.array([not owner for owner in owned.owners], dtype=np.bool_)
    rest = np.flatnonzero((trail.start < 0) & (column >= 0) & nobodys)
    start, length = column[rest], trail.length[rest]
    loose = (rest[:0], rest[:0], rest[:0])
    if areas.space == space:
        row, place, size = np.arange(len(rest)), start, length
    else:
        up = trace_up(maps, at_ns, areas.space, space, start, length)
        is_in_file = up.start >= 0
        row, place, size = up.request[is_in_file], up.start[is_in_file], up.length[is_in_file]
        outside = up.places[space, 0] if (space, 0) in up.places else np.full(len(up), -1)
        loose = (up.request[~is_in_file], outside[~is_in_file], up.length[~is_in_file])
    found = areas.lookup(place, size)
    if not (found.owner != NOBODY).any():
        return owned
    touched = np.unique(row[found.request])
    keep = np.setdiff1d(np.arange(len(trail)), rest[touched])
    parts = [owned.take(keep)]
    for number in np.unique(found.owner).tolist():
        mine = found.owner == number
        request = trail.request[rest[row[found.request[mine]]]]
        down = below_only(maps, at_ns, trail.space, areas.space, request, found.start[mine], found.length[mine])
        parts.append(OwnedTrail.of(down, "" if number == NOBODY else f"{areas.names[number]} of the image"))
    mine = np.isin(loose[0], touched)
    request = trail.request[rest[loose[0][mine]]]
    down = below_only(maps, at_ns, trail.space, space, request, loose[1][mine], loose[2][mine])
    return _together([*parts, OwnedTrail.of(down)])


def _together(parts: Sequence[OwnedTrail]) -> OwnedTrail:
    """Join trails and keep their owners: their numbers ride along as a place."""
    owners = [owner for part in parts for owner in part.owners]
    offsets = [offset for part in parts for offset in part.offsets]
    count, whole = 0, parts[0].trail.take(np.empty(0, dtype=np.int64))
    for part in parts:
        part.trail.places[_MARK] = np.arange(count, count + len(part.trail))
        count += len(part.trail)
        whole = joined(whole, part.trail)
    order = whole.places.pop(_MARK).tolist()
    return OwnedTrail(whole, tuple(owners[row] for row in order), tuple(offsets[row] for row in order))


def with_files(owned: OwnedTrail, files: NamedRanges) -> OwnedTrail:
    """Name the guest's files that the pieces of its disk are of, cutting the pieces where the file changes."""
    trail = owned.trail
    rows = np.flatnonzero(trail.start >= 0)
    found = files.lookup(trail.start[rows], trail.length[rows])
    row = rows[found.request]
    cut = trail.cut(row, found.start - trail.start[row], found.length)
    names = tuple("" if owner == NOBODY else files.names[owner] for owner in found.owner.tolist())
    mine = OwnedTrail(cut, names, tuple(found.offset.tolist()))
    return _together([mine, owned.take(np.flatnonzero(trail.start < 0))])


def in_order(owned: OwnedTrail, space: str) -> OwnedTrail:
    """Sort the pieces of each request by their address in the space that was asked about."""
    trail = owned.trail
    address = trail.start if space == trail.space else trail.places.get((space, 0), trail.start)
    return owned.take(np.lexsort((address, trail.request)))
