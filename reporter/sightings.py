"""Ranges of a guest's disk and how far their place in its image file is from there: as seen, as past, as mapped."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from vio.mappers.extent import RangeMap
from vio.mappers.interval import cut, runs
from vio.mappers.kind import Kind, base_of
from vio.reporter.match import Bools, Ints

FURTHEST = 1 << 61  # addresses beyond are no addresses
GONE = -(1 << 62)
"""As a shift: the range has no place any more, or none that is certain."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of the guest's disk (bytes, `end` exclusive); their place in the file is `shift` bytes further, or GONE.

    `since_ns` is from when on they are known to lie there; `from_ns` and `until_ns` bound when this was looked up or
    decided, so that of two sightings whose bounds overlap neither is the later one.
    """

    start: Ints
    end: Ints
    shift: Ints
    since_ns: Ints
    from_ns: Ints
    until_ns: Ints

    @classmethod
    def of(cls, start: Ints, end: Ints, shift: Ints, from_ns: Ints, until_ns: Ints) -> Self:
        """Make sightings, those that cannot be left out: a place holds from its end, its loss from its begin."""
        has = (start >= 0) & (end > start) & (end <= FURTHEST)
        has &= (shift == GONE) | ((shift >= -start) & (shift <= FURTHEST - end))
        columns = (start, end, shift, np.where(shift == GONE, from_ns, until_ns), from_ns, until_ns)
        return cls(*(np.asarray(column, dtype=np.int64)[has] for column in columns))

    @classmethod
    def empty(cls) -> Self:
        """Return none."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, none, none, none, none)

    @classmethod
    def joined(cls, parts: "list[Ranges]") -> Self:
        """Return those of several, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        """Return how many."""
        return int(self.start.size)

    def take(self, which: Ints | Bools | slice) -> "Ranges":
        """Return the chosen ones."""
        return Ranges(*(getattr(self, f.name)[which] for f in fields(self)))

    def whole(self) -> "Ranges":
        """Return them in order of address, neighbours that say the same joined."""
        ranges = self.take(np.argsort(self.start, kind="stable"))
        breaks = ranges.start[1:] != ranges.end[:-1]
        for column in (ranges.shift, ranges.since_ns, ranges.from_ns, ranges.until_ns):
            breaks |= column[1:] != column[:-1]
        first, last = runs(breaks, len(ranges))
        end, kept = ranges.end[last], ranges.take(first)
        return Ranges(kept.start, end, kept.shift, kept.since_ns, kept.from_ns, kept.until_ns)


@dataclass(frozen=True, slots=True)
class PastRanges:
    """Ranges of the guest's disk that lay `shift` bytes further in the file (GONE: nowhere) from a time to a time."""

    start: Ints
    end: Ints
    shift: Ints
    from_ns: Ints
    to_ns: Ints

    @classmethod
    def joined(cls, parts: "list[PastRanges]") -> Self:
        """Return those of several."""
        none = np.empty(0, dtype=np.int64)
        every = [cls(none, none, none, none, none), *parts]
        return cls(*(np.concatenate([getattr(part, f.name) for part in every]) for f in fields(cls)))

    def __len__(self) -> int:
        """Return how many."""
        return int(self.start.size)

    def whole(self) -> "PastRanges":
        """Return them in order of address and time, neighbours that say the same joined, those of no time out."""
        has = np.flatnonzero(self.to_ns > self.from_ns)
        order = has[np.lexsort((self.start[has], self.from_ns[has], self.to_ns[has], self.shift[has]))]
        kept = PastRanges(*(getattr(self, f.name)[order] for f in fields(self)))
        breaks = kept.start[1:] != kept.end[:-1]
        for column in (kept.shift, kept.from_ns, kept.to_ns):
            breaks |= column[1:] != column[:-1]
        first, last = runs(breaks, len(kept))
        first, last = (where[np.lexsort((kept.from_ns[first], kept.start[first]))] for where in (first, last))
        return PastRanges(kept.start[first], kept.end[last], kept.shift[first], kept.from_ns[first], kept.to_ns[first])


@dataclass(frozen=True, slots=True)
class KnownShifts:
    """Of a stored map the ranges that are at an address of their own: how far that is from the guest's."""

    start: Ints
    end: Ints
    shift: Ints

    @classmethod
    def of(cls, one: RangeMap | None) -> Self:
        """Read a map; None knows nothing."""
        if one is None:
            none = np.empty(0, dtype=np.int64)
            return cls(none, none, none)
        rows = np.flatnonzero((base_of(one.kind) == Kind.MAPPED) & (one.target >= 0))
        start, end, shift = one.start[rows], one.end[rows], (one.target - one.start)[rows]
        first, last = runs((start[1:] != end[:-1]) | (shift[1:] != shift[:-1]), rows.size)
        return cls(*(np.ascontiguousarray(column) for column in (start[first], end[last], shift[first])))

    def cut(self, start: Ints, end: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Cut ranges where the map does: return which range each piece is of, its begin and end, and its shift."""
        cuts = cut(self.start, self.end, start, end)
        shift = np.full(cuts.row.size, GONE)
        inside = np.flatnonzero(cuts.row >= 0)
        shift[inside] = self.shift[cuts.row[inside]]
        return cuts.request, cuts.begin, cuts.end, shift

    def at(self, offset: Ints) -> Ints:
        """Return the shift of single bytes."""
        if not self.start.size:
            return np.full(offset.size, GONE)
        at = np.maximum(np.searchsorted(self.start, offset, side="right") - 1, 0)
        inside = (offset >= self.start[at]) & (offset < self.end[at])
        return np.where(inside, self.shift[at], GONE)
