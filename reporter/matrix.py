"""The times of a chunk of IOs as one matrix of doubles, a row for each stage and phase; whole numbers, so sums are exact.

A chunk is small enough for the processor's cache, and the buffers are used again for the next one.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vio.layer import Phase, Stage
from vio.reporter.histogram import Floats, Ints
from vio.schema import time_column

Bools = npt.NDArray[np.bool_]

CHUNK_ROWS = 1 << 15
LATENCY = "latency_ns"
UNATTRIBUTED = "unattributed_ns"

_ROWS = len(Stage) * (len(Phase) + 1) + 2


@dataclass(slots=True, eq=False)
class Times:
    """One chunk: names of rows to their places in `matrix`, and which IOs have a value (not named: all)."""

    matrix: Floats
    places: dict[str, int] = field(default_factory=dict)
    masks: dict[str, Bools] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Say whether any IO has this time."""
        return name in self.places

    def values(self, name: str) -> Floats:
        """Return the times of the IOs that have them."""
        row = self.matrix[self.places[name]]
        mask = self.masks.get(name)
        return row if mask is None else row[mask]

    def total_ns(self, name: str) -> int:
        """Add up a row; what an IO does not have is zero in the matrix."""
        return int(self.matrix[self.places[name]].sum())


class TimesReader:
    """Read the times of batches of schema.IOS in which every IO has ended."""

    def __init__(self) -> None:
        self._buffer = np.empty((_ROWS, CHUNK_ROWS))

    def read(self, ended: pa.RecordBatch) -> Times:
        """Fill the matrix; it holds until the next call. A negative time is a ValueError."""
        times = Times(self._buffer[:, : ended.num_rows])
        for stage in Stage:
            self._read_stage(times, ended, stage)
        for name in (LATENCY, UNATTRIBUTED):
            _read_row(times, ended, name)
        used = times.matrix[: len(times.places)]
        if used.size and used.min() < 0:
            row = int(np.argmin(used.min(axis=1)))
            name = next(name for name, place in times.places.items() if place == row)
            raise ValueError(f"an IO has a negative time in {name}")
        times.matrix = used
        return times

    @staticmethod
    def _read_stage(times: Times, ended: pa.RecordBatch, stage: Stage) -> None:
        present = [name for phase in Phase if _read_row(times, ended, name := time_column(stage, phase))]
        if not present:
            return
        total = times.matrix[len(times.places)]
        np.copyto(total, times.matrix[times.places[present[0]]])
        for name in present[1:]:
            total += times.matrix[times.places[name]]
        times.places[stage.column] = len(times.places)
        masks = [times.masks[name] for name in present if name in times.masks]
        if len(masks) == len(present):
            times.masks[stage.column] = np.logical_or.reduce(masks)


def _read_row(times: Times, ended: pa.RecordBatch, name: str) -> bool:
    column = ended.column(name)
    if column.null_count == len(column):
        return False
    place = len(times.places)
    times.places[name] = place
    if column.null_count:
        times.masks[name] = pc.is_valid(column).to_numpy(zero_copy_only=False)
        column = pc.fill_null(column, 0)
    times.matrix[place] = column.to_numpy()
    return True


def sums_by_group(times: Times, codes: Ints, groups: int) -> Floats:
    """Add up each row for each group of IOs: groups x rows."""
    if groups == 1:
        return times.matrix.sum(axis=1)[np.newaxis]
    member = (codes == np.arange(groups)[:, np.newaxis]).astype(np.float64)
    return member @ times.matrix.T
