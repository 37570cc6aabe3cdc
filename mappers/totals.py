"""Totals of a map: how much is allocated, compressed, zero, shared; how torn it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vio.mappers.extent import NOWHERE, Rows
from vio.mappers.kind import Bools, Flag, Ints, Kind, Kinds, base_of, is_encoded

GIB = 1 << 30


@dataclass(slots=True)
class Totals:
    """Sums over a map, in bytes of its source space unless said otherwise.

    `by_kind` has the bytes of every base kind and `by_flag` of every flag that occurs. `allocated` is what has an
    address below, `stored` the bytes taken there: less where data is compressed. `extents` counts the runs that
    are without a break in both spaces.
    """

    size: int = 0
    allocated: int = 0
    stored: int = 0
    extents: int = 0
    by_kind: dict[Kind, int] = field(default_factory=dict)
    by_flag: dict[Flag, int] = field(default_factory=dict)
    _before: tuple[int, int] = (NOWHERE, NOWHERE)

    @classmethod
    def of(cls, batches: Iterable[Rows], size: int, gap: Kind = Kind.UNALLOCATED) -> "Totals":
        """Add up rows that come in order, batch by batch, of a space of `size` bytes; what no row covers is `gap`."""
        totals = cls(size)
        for rows in batches:
            totals._add(rows)
        missing = size - sum(totals.by_kind.values())
        if missing > 0:
            totals.by_kind[gap] = totals.by_kind.get(gap, 0) + missing
        return totals

    @property
    def extents_per_gib(self) -> float:
        """Extents to a GiB of what is allocated; 0 where nothing is."""
        return self.extents * GIB / self.allocated if self.allocated else 0.0

    def fragmentation(self, unit_bytes: int) -> float:
        """Tell which share of the borders between units (clusters, blocks) is a break: 0 none, 1 all."""
        borders = self.allocated // unit_bytes - 1
        return min(1.0, (self.extents - 1) / borders) if borders > 0 else 0.0

    def _add(self, rows: Rows) -> None:
        # The last cluster of a disk may reach beyond its end.
        length = np.minimum(rows.length, np.maximum(self.size - rows.start, 0))
        base, placed = base_of(rows.kind), rows.target >= 0
        for kind, total in zip(*_sums(base, length), strict=True):
            self.by_kind[Kind(kind)] = self.by_kind.get(Kind(kind), 0) + total
        for flag in Flag:
            has_flag = (rows.kind & np.uint8(flag)) != 0
            if has_flag.any():
                self.by_flag[flag] = self.by_flag.get(flag, 0) + int(length[has_flag].sum())
        self.allocated += int(length[placed].sum())
        self.stored += int(np.where(is_encoded(rows.kind), rows.target_length, length)[placed].sum())
        self._count_extents(rows, placed)

    def _count_extents(self, rows: Rows, placed: Bools) -> None:
        start, target = rows.start[placed], rows.target[placed]
        if not len(start):
            return
        end, below = start + rows.length[placed], target + rows.target_length[placed]
        before = np.concatenate([[self._before[0]], end[:-1]]), np.concatenate([[self._before[1]], below[:-1]])
        # A compressed cluster begins where the one before ends, in its last sector: no break for the disk.
        slack = np.where(is_encoded(rows.kind[placed]), 512, 0)
        distance = before[1] - target
        self.extents += int(((before[0] != start) | (distance < 0) | (distance > slack)).sum())
        self._before = int(end[-1]), int(below[-1])


def _sums(base: Kinds, length: Ints) -> tuple[list[int], list[int]]:
    kinds = np.unique(base).tolist()
    return kinds, [int(length[base == kind].sum()) for kind in kinds]
