"""Counts of IOs in two dimensions, of which one is how long they took; memory does not grow with the recording."""

from dataclasses import dataclass, field

import numpy as np

from vio.reporter.compiled import Ints
from vio.reporter.html.axes import ROWS, rows_of_times

_PLACES = 128
_LEAST_WIDTH = 4096


@dataclass(slots=True, eq=False)
class Heat:
    """`counts[column, row]`: IOs by column and by time (axes.ROWS)."""

    counts: Ints

    @classmethod
    def of(cls, columns: int) -> "Heat":
        """Begin with nothing."""
        return cls(np.zeros((columns, ROWS), dtype=np.int64))

    def add(self, columns: Ints, times_ns: Ints) -> None:
        """Count IOs."""
        cells = columns * ROWS + rows_of_times(times_ns)
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def cells(self) -> list[int]:
        """Return what is not zero: the distance from the last such cell, and its count, one pair after the other."""
        flat = self.counts.ravel()
        present = np.flatnonzero(flat)
        pairs = np.stack([np.diff(present, prepend=0), flat[present]], axis=1)
        flattened: list[int] = pairs.ravel().tolist()
        return flattened


@dataclass(slots=True, eq=False)
class Places:
    """IOs by address: columns of `width_bytes`, which is doubled when an address lies beyond the last."""

    width_bytes: int = _LEAST_WIDTH
    heat: Heat = field(default_factory=lambda: Heat.of(_PLACES))

    def add(self, offsets: Ints, times_ns: Ints) -> None:
        """Count IOs at these addresses (bytes)."""
        if not offsets.size:
            return
        offsets = np.maximum(offsets, 0)
        while int(offsets.max()) // self.width_bytes >= _PLACES:
            self._double()
        self.heat.add(offsets // self.width_bytes, times_ns)

    def _double(self) -> None:
        halved = self.heat.counts.reshape(_PLACES // 2, 2, ROWS).sum(axis=1)
        self.heat.counts = np.concatenate([halved, np.zeros_like(halved)])
        self.width_bytes *= 2
