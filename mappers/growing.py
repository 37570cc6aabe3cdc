"""Rows of a map that come a batch at a time, in memory once: a fragmented image has millions of them."""

import numpy as np

from vio.mappers.extent import Rows

_SPARE_ROWS = 1 << 12


class GrowingRows:
    """Columns that grow in place, which the kernel does without copying where they are large.

    `joins` tells whether some batch goes on where the one before ended, so that there is something to coalesce.
    """

    def __init__(self) -> None:
        self.count = 0
        self.joins = False
        start, length, target, stored = (np.empty(0, dtype=np.int64) for _ in range(4))
        self._columns = Rows(start, length, target, stored, np.empty(0, dtype=np.uint8))

    def add(self, rows: Rows) -> None:
        """Put rows behind those that there are."""
        begin, end = self.count, self.count + len(rows.start)
        if begin == end:
            return
        self._reserve(end)
        for column, more in zip(self._columns[:4], rows[:4], strict=True):
            column[begin:end] = more
        self._columns.kind[begin:end] = rows.kind
        self.count = end
        self.joins = self.joins or (begin > 0 and self._continues(begin))

    def finish(self) -> Rows:
        """Give the rows; nothing can be added any more."""
        self._resize(self.count)
        return self._columns

    def _continues(self, row: int) -> bool:
        start, length, target, _, kind = self._columns.take(slice(row - 1, row + 1))
        if kind[0] != kind[1] or start[0] + length[0] != start[1]:
            return False
        return bool(target[0] + length[0] == target[1] if target[1] >= 0 else target[0] < 0)

    def _reserve(self, count: int) -> None:
        if count > len(self._columns.start):
            self._resize(count + count // 8 + _SPARE_ROWS)

    def _resize(self, count: int) -> None:
        for column in self._columns:
            column.resize(count, refcheck=False)  # the views that there were are gone
