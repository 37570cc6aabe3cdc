"""NamedRanges: who owns which bytes of a space: the parts of an image file, the files of a guest's file system."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.extent import RangeMap
from vio.mappers.interval import cut, flatten, range_end
from vio.mappers.kind import Bools, Ints

NOBODY = -1
"""Owner of a byte that no range covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """Requests cut by owner: `owner` indexes the names (NOBODY: none), `offset` is the place inside what it names."""

    request: Ints
    start: Ints
    length: Ints
    owner: Ints
    offset: Ints


@dataclass(frozen=True, slots=True, eq=False)
class NamedRanges:
    """Ranges of a space, sorted by `start`; `owner` indexes `names`, `offset` is the byte inside what that names.

    Ranges may overlap, as when files share data; a look-up gives such a byte to one of them.
    """

    space: str
    names: tuple[str, ...]
    start: Ints
    length: Ints
    owner: Ints
    offset: Ints

    @classmethod
    def of(
        cls,
        space: str,
        names: Sequence[str],
        start: npt.ArrayLike,
        length: npt.ArrayLike,
        owner: npt.ArrayLike,
        offset: npt.ArrayLike = 0,
    ) -> "NamedRanges":
        """Build from ranges in any order, a scalar standing for a whole column.

        Raises:
            MapError: A range or an owner is impossible.
        """
        starts = np.atleast_1d(np.asarray(start, dtype=np.int64))
        lengths, owners, offsets = (
            np.broadcast_to(np.asarray(column, dtype=np.int64), starts.shape) for column in (length, owner, offset)
        )
        _refuse_any(space, (starts < 0) | (lengths <= 0) | (lengths > LAST - np.maximum(starts, 0)), "is no range")
        _refuse_any(space, (owners < 0) | (owners >= len(names)), "has no owner")
        order = np.argsort(starts, kind="stable")
        return cls(space, tuple(names), starts[order], lengths[order], owners[order], offsets[order])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def bytes_by_name(self) -> dict[str, int]:
        """Sum the bytes of each name that has any."""
        totals = np.zeros(len(self.names), dtype=np.int64)
        np.add.at(totals, self.owner, self.length)
        return {name: int(total) for name, total in zip(self.names, totals, strict=True) if total}

    def of_owner(self, name: str) -> "NamedRanges":
        """Keep the ranges of one name, in the order of the place inside it; none where nobody has that name."""
        which = np.flatnonzero(self.owner == (self.names.index(name) if name in self.names else NOBODY))
        which = which[np.argsort(self.offset[which], kind="stable")]
        columns = (column[which] for column in (self.start, self.length, self.owner, self.offset))
        return NamedRanges(self.space, self.names, *columns)

    def lookup(self, offsets: npt.ArrayLike, lengths: npt.ArrayLike) -> Owned:
        """Cut ranges by owner, all at once; parts that nobody owns come out as NOBODY."""
        begins = np.atleast_1d(np.asarray(offsets, dtype=np.int64))
        ends = range_end(begins, np.broadcast_to(np.asarray(lengths, dtype=np.int64), begins.shape))
        flat = self._disjoint()
        cuts = cut(flat.start, flat.start + flat.length, begins, ends)
        is_owned, row = cuts.row >= 0, cuts.row[cuts.row >= 0]
        owner, offset = np.full(len(cuts.row), NOBODY, dtype=np.int64), np.zeros(len(cuts.row), dtype=np.int64)
        owner[is_owned] = flat.owner[row]
        offset[is_owned] = flat.offset[row] + cuts.begin[is_owned] - flat.start[row]
        return Owned(cuts.request, cuts.begin, cuts.end - cuts.begin, owner, offset)

    def as_map(self, source_space: str) -> RangeMap:
        """Map a space of the same addresses, in which there is only what somebody owns, to these ranges' space."""
        flat = self._disjoint()
        return RangeMap.of(source_space, self.space, flat.start, flat.length, flat.start).coalesce()

    def _disjoint(self) -> "NamedRanges":
        end = self.start + self.length
        if len(self) < 2 or bool((end[:-1] <= self.start[1:]).all()):
            return self
        flat = flatten(self.start, end)
        offset = self.offset[flat.owner] + flat.begin - self.start[flat.owner]
        return NamedRanges(self.space, self.names, flat.begin, flat.end - flat.begin, self.owner[flat.owner], offset)


def _refuse_any(space: str, bad: Bools, why: str) -> None:
    if bad.any():
        raise MapError(f"named ranges of {space}, row {int(np.argmax(bad))} {why}")
