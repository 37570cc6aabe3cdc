"""RangeMap: which ranges of one address space lie where in the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.interval import Cuts, cut, flatten, range_end
from vio.mappers.kind import Bools, Flag, Ints, Kind, Kinds, base_of, is_encoded

NOWHERE = -1
CHECKED_ROWS = 1 << 15


class Rows(NamedTuple):
    """The columns of a map, or of some of its rows."""

    start: Ints
    length: Ints
    target: Ints
    target_length: Ints
    kind: Kinds

    def take(self, which: Ints | Bools | slice) -> "Rows":
        """Keep the rows of these indices, of this stretch, or where the mask is true."""
        start, length, target, target_length, kind = self
        return Rows(start[which], length[which], target[which], target_length[which], kind[which])

    def is_same(self, other: "Rows") -> bool:
        """Compare all columns."""
        numbers = zip(self[:4], other[:4], strict=True)
        return np.array_equal(self.kind, other.kind) and all(np.array_equal(a, b) for a, b in numbers)

    @staticmethod
    def joined(parts: Sequence["Rows"]) -> "Rows":
        """Put the rows of all parts one after the other."""
        start, length, target, target_length, kind = zip(*parts, strict=True)
        join = np.concatenate
        return Rows(join(start), join(length), join(target), join(target_length), join(kind))


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Requests looked up in a map, piece by piece, in order of request and address.

    `request` is the index of the request; `start` and `length` are bytes of the source space; `target`
    is a byte address, -1 where there is none; `target_length` is as in `RangeMap`.
    """

    request: Ints
    start: Ints
    length: Ints
    target: Ints
    target_length: Ints
    kind: Kinds

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True, eq=False)
class RangeMap:
    """Ranges of a source space, sorted and disjoint, and the target address of each, in bytes.

    A map has one target space. A source that spreads over several (a backing chain, RAID, btrfs on two
    devices) has one map for each target; what a map does not cover comes out of `lookup` as UNMAPPED.
    `target` is -1 where there is no address. `target_length` is the bytes taken there: `length` for a
    linear range, the stored length of a compressed one (0 if not known), 0 where there is no target.
    """

    source_space: str
    target_space: str
    start: Ints
    length: Ints
    target: Ints
    target_length: Ints
    kind: Kinds

    def __post_init__(self) -> None:
        sizes = {len(column) for column in (self.start, self.length, self.target, self.target_length, self.kind)}
        if len(sizes) != 1:
            raise MapError(f"map of {self.source_space}: columns of different lengths {sorted(sizes)}")
        for first in range(0, len(self.start), CHECKED_ROWS):
            self._check(first, min(len(self.start), first + CHECKED_ROWS))

    def _check(self, first: int, last: int) -> None:
        """Check some rows, and that they follow those before: few at once, so that the work stays in the cache."""
        start, length, target, stored, kind = self.rows.take(slice(first, last))
        for bad, why in (
            (base_of(kind) > max(Kind), "kind is unknown"),
            (start < 0, "start is negative"),
            ((length <= 0) | (length > LAST - start), "length is not positive or too great"),
            ((target < NOWHERE) | (stored < 0), "target is negative"),
            (np.maximum(stored, 1) > LAST - np.maximum(target, 0), "target_length is too great"),
        ):
            self._refuse(bad, why, first)
        before = max(0, first - 1)
        ends = self.start[before : last - 1] + self.length[before : last - 1]
        self._refuse(
            self.start[before + 1 : last] < ends, "range is out of order or overlaps the one before", before + 1
        )

    @classmethod
    def of(
        cls,
        source_space: str,
        target_space: str,
        start: npt.ArrayLike,
        length: npt.ArrayLike,
        target: npt.ArrayLike,
        kind: npt.ArrayLike = Kind.MAPPED,
        target_length: npt.ArrayLike | None = None,
    ) -> "RangeMap":
        """Build a map from rows in any order, a scalar standing for a whole column; check that none overlap.

        Without `target_length`, encoded ranges are of a stored length that is not known.
        """
        starts = np.atleast_1d(np.asarray(start, dtype=np.int64))
        lengths, targets = _column(length, starts), _column(target, starts)
        kinds = np.broadcast_to(np.asarray(kind, dtype=np.uint8), starts.shape)
        if target_length is None:
            stored = np.where((targets < 0) | is_encoded(kinds), 0, lengths)
        else:
            stored = _column(target_length, starts)
        return cls.from_rows(source_space, target_space, Rows(starts, lengths, targets, stored, kinds))

    @classmethod
    def from_rows(cls, source_space: str, target_space: str, rows: Rows) -> "RangeMap":
        """Build a map from rows in any order; check that none overlap."""
        if np.any(rows.start[1:] < rows.start[:-1]):
            rows = rows.take(np.argsort(rows.start, kind="stable"))
        return cls(source_space, target_space, *rows)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def rows(self) -> Rows:
        """The columns."""
        return Rows(self.start, self.length, self.target, self.target_length, self.kind)

    @property
    def end(self) -> Ints:
        """First byte after each range."""
        return self.start + self.length

    def is_same(self, other: "RangeMap") -> bool:
        """Tell whether both maps say the same of the same spaces, however their ranges are cut."""
        spaces = (self.source_space, self.target_space)
        is_alike = spaces == (other.source_space, other.target_space)
        return is_alike and self.coalesce().rows.is_same(other.coalesce().rows)

    def coalesce(self) -> "RangeMap":
        """Join neighbours that continue each other in both spaces; encoded ranges stay as they are."""
        if len(self) < 2:
            return self
        advances = (self.target[1:] == self.target[:-1] + self.length[:-1]) & (self.target[:-1] >= 0)
        nowhere = (self.target[1:] < 0) & (self.target[:-1] < 0)
        joins = (self.start[1:] == self.end[:-1]) & (self.kind[1:] == self.kind[:-1])
        joins &= (advances | nowhere) & ~is_encoded(self.kind[1:])
        if not joins.any():
            return self
        first = np.flatnonzero(np.concatenate([[True], ~joins]))
        return RangeMap(
            self.source_space,
            self.target_space,
            self.start[first],
            np.add.reduceat(self.length, first),
            self.target[first],
            np.add.reduceat(self.target_length, first),
            self.kind[first],
        )

    def slice(self, start: int, end: int) -> "RangeMap":
        """Keep what lies in source bytes `[start, end)`, cutting the ranges at its edges."""
        cuts = cut(self.start, self.end, np.array([start]), np.array([max(start, end)]))
        pieces = self._pieces(cuts)
        inside = cuts.row >= 0
        rows = Rows(pieces.start, pieces.length, pieces.target, pieces.target_length, pieces.kind)
        return RangeMap(self.source_space, self.target_space, *rows.take(inside))

    def fill(self, end: int, kind: Kind) -> "RangeMap":
        """Cover source bytes `[0, end)` whole: gaps become ranges of `kind`, what lies beyond is cut off."""
        inside = self.slice(0, end) if len(self) and self.end[-1] > end else self
        begins = np.concatenate([[0], inside.end])
        lengths = np.concatenate([inside.start, [end]]) - begins
        gaps = np.flatnonzero(lengths > 0)
        if len(gaps) == 0:
            return inside
        holes = RangeMap.of("", "", begins[gaps], lengths[gaps], NOWHERE, kind)
        rows = Rows.joined([inside.rows, holes.rows])
        return RangeMap.from_rows(self.source_space, self.target_space, rows)

    def lookup(self, offsets: npt.ArrayLike, lengths: npt.ArrayLike) -> Pieces:
        """Look up source ranges (bytes), all at once; parts not in the map come out as UNMAPPED.

        A request may become several pieces, one of length 0 becomes none.
        """
        begins = np.atleast_1d(np.asarray(offsets, dtype=np.int64))
        ends = range_end(begins, _column(lengths, begins))
        return self._pieces(cut(self.start, self.end, begins, ends))

    def locate(self, offsets: npt.ArrayLike) -> tuple[Ints, Kinds]:
        """Give target address (-1: none) and kind of single bytes, all at once: quicker than `lookup`."""
        wanted = np.atleast_1d(np.asarray(offsets, dtype=np.int64))
        if len(self) == 0:
            return np.full(len(wanted), NOWHERE), np.full(len(wanted), Kind.UNMAPPED, dtype=np.uint8)
        row = np.maximum(np.searchsorted(self.start, wanted, side="right") - 1, 0)
        inside = wanted - self.start[row]
        is_covered = (inside >= 0) & (inside < self.length[row])
        target = self.target[row] + np.where(is_encoded(self.kind[row]), 0, inside)
        is_placed = is_covered & (self.target[row] >= 0)
        kind = np.where(is_covered, self.kind[row], np.uint8(Kind.UNMAPPED))
        return np.where(is_placed, target, NOWHERE), kind

    def invert(self) -> "RangeMap":
        """Turn the map round: target addresses to source addresses.

        A target address that several ranges claim is given to one of them and flagged SHARED.
        """
        rows = np.flatnonzero((self.target >= 0) & (self.target_length > 0))
        if len(rows) == 0:
            return RangeMap.of(self.target_space, self.source_space, [], [], [])
        rows = rows[np.argsort(self.target[rows], kind="stable")]
        flat = flatten(self.target[rows], self.target[rows] + self.target_length[rows])
        owner, length = rows[flat.owner], flat.end - flat.begin
        encoded = is_encoded(self.kind[owner])
        inside = np.where(encoded, 0, flat.begin - self.target[owner])
        shared = np.where(flat.depth > 1, Flag.SHARED, 0).astype(np.uint8)
        return RangeMap(
            self.target_space,
            self.source_space,
            flat.begin,
            length,
            self.start[owner] + inside,
            np.where(encoded, self.length[owner], length),
            self.kind[owner] | shared,
        ).coalesce()

    def _pieces(self, cuts: Cuts) -> Pieces:
        found = cuts.row >= 0
        row = cuts.row[found]
        length = cuts.end - cuts.begin
        target, stored = np.full(len(length), NOWHERE), np.zeros(len(length), dtype=np.int64)
        kind = np.full(len(length), Kind.UNMAPPED, dtype=np.uint8)
        kind[found] = self.kind[row]
        is_linear = ~is_encoded(self.kind[row]) & (self.target[row] >= 0)
        target[found] = self.target[row] + np.where(is_linear, cuts.begin[found] - self.start[row], 0)
        stored[found] = np.where(is_linear, length[found], self.target_length[row])
        return Pieces(cuts.request, cuts.begin, length, target, stored, kind)

    def _refuse(self, bad: Bools, why: str, first: int) -> None:
        if bad.any():
            row = first + int(np.argmax(bad))
            raise MapError(f"map of {self.source_space} to {self.target_space}, row {row}: {why}")


def _column(values: npt.ArrayLike, like: Ints) -> Ints:
    return np.broadcast_to(np.asarray(values, dtype=np.int64), like.shape)
