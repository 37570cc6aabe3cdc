"""The times of a chunk of IOs as a matrix of doubles, a row for each stage and phase; whole numbers, so sums are exact.

Each row is read while it is in the processor's cache, and the buffer is used again for the next chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vio.layer import Phase, Stage
from vio.reporter.histogram import Floats, Ints
from vio.schema import time_column

CHUNK_ROWS = 1 << 15
LATENCY = "latency_ns"
UNATTRIBUTED = "unattributed_ns"
STAGE_COLUMNS = {stage: tuple(time_column(stage, phase) for phase in Phase) for stage in Stage}

# Products this small stay on one processor: OpenBLAS's threads cost more than they give here.
_PRODUCT_COLUMNS = 1 << 10
# A row for each phase, one for each stage's sum, one for who reached it.
_ROWS = len(Stage) * (len(Phase) + 2) + 2


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The times of one name (a column, or a stage's sum); `absent` IOs have none, and are zero here."""

    name: str
    values: Floats
    absent: int


def reached_name(stage: Stage) -> str:
    """Name the row that holds 1 for an IO that reached the stage and else 0; there is none where all did."""
    return f"{stage.column}_reached"


class TimesReader:
    """Read the times of batches of schema.IOS in which every IO has ended."""

    def __init__(self) -> None:
        self._buffer = np.empty((_ROWS, CHUNK_ROWS))
        self._count = 0
        self.places: dict[str, int] = {}

    @property
    def matrix(self) -> Floats:
        """The rows of the last batch; `places` has the place of each name."""
        return self._buffer[: len(self.places), : self._count]

    def read(self, ended: pa.RecordBatch) -> Iterator[Row]:
        """Fill the matrix, row by row; what no IO has is left out."""
        self._count = ended.num_rows
        self.places.clear()
        for stage, names in STAGE_COLUMNS.items():
            yield from self._read_stage(ended, stage, names)
        for name in (LATENCY, UNATTRIBUTED):
            if ended.column(name).null_count < self._count:
                yield self._read_row(ended.column(name), name, _mask(ended.column(name)))

    def _read_stage(self, ended: pa.RecordBatch, stage: Stage, names: tuple[str, ...]) -> Iterator[Row]:
        columns = {name: ended.column(name) for name in names}
        present = [name for name in names if columns[name].null_count < self._count]
        if not present:
            return
        masks = _masks([columns[name] for name in present])
        for name, mask in zip(present, masks, strict=True):
            yield self._read_row(columns[name], name, mask)
        total = self._next(stage.column)
        np.copyto(total, self._buffer[self.places[present[0]], : self._count])
        for name in present[1:]:
            total += self._buffer[self.places[name], : self._count]
        absent = 0
        partial = [mask for mask in masks if mask is not None]
        if len(partial) == len(present):
            reached = self._next(reached_name(stage))
            reached[:] = partial[0]
            for mask in partial[1:]:
                if mask is not partial[0]:
                    np.maximum(reached, mask, out=reached)
            absent = self._count - int(reached.sum())
        yield Row(stage.column, total, absent)

    def _read_row(self, column: pa.Array, name: str, mask: Floats | None) -> Row:
        row = self._next(name)
        row[:] = _raw(column)
        if mask is not None:
            row *= mask
        return Row(name, row, column.null_count)

    def _next(self, name: str) -> Floats:
        place = self.places[name] = len(self.places)
        return self._buffer[place, : self._count]


def _raw(column: pa.Array) -> Ints:
    """The values, with anything at all where there is none."""
    values = np.frombuffer(column.buffers()[1], dtype=np.int64)
    return values[column.offset : column.offset + len(column)]


def _mask(column: pa.Array) -> Floats | None:
    """1 where there is a value, else 0; None if all have one."""
    if not column.null_count:
        return None
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False).astype(np.float64))


def _masks(columns: list[pa.Array]) -> list[Floats | None]:
    """Make the masks of columns, only one for those that agree: a stage's phases mostly do."""
    first = columns[0]
    masks = [_mask(first)]
    for column in columns[1:]:
        is_same = column.null_count == first.null_count and column.offset == first.offset
        if is_same and first.null_count and not column.buffers()[0].equals(first.buffers()[0]):
            is_same = False
        masks.append(masks[0] if is_same else _mask(column))
    return masks


def sums_by_group(matrix: Floats, codes: Ints, groups: int) -> Floats:
    """Add up each row for each group of IOs: groups x rows."""
    if groups == 1:
        return np.asarray(matrix.sum(axis=1)[np.newaxis])
    member = (codes == np.arange(groups)[:, np.newaxis]).astype(np.float64)
    result = np.zeros((groups, matrix.shape[0]))
    for at in range(0, codes.size, _PRODUCT_COLUMNS):
        part = slice(at, at + _PRODUCT_COLUMNS)
        result += member[:, part] @ matrix[:, part].T
    return result
