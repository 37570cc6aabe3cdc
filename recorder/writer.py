"""Write closed segments of events beside the reading, in a thread of its own: pyarrow and fsync leave the GIL free."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from vio.manifest import SegmentInfo
from vio.recorder.files import replacing, write_table
from vio.recorder.rows import EVENT_SCHEMA, POINTS, Rows, Scaling, decode, joined
from vio.recording import EVENTS_DIRECTORY, PENDING_FILE

ROW_GROUP = 1 << 17
_WAITING = 4  # segments handed over and not written: more would only fill the memory
# Measured on a real recording (CPU to write, bytes a row): delta for the two columns that grow steadily, plain with
# lz4 for those that repeat: 55 ns, 7.5 bytes. All delta: 97 ns, 24 bytes; zstd level 1 on top: three times the CPU.
_DELTA = ("ts_ns", "offset")
PARQUET = {
    "compression": {name: "none" if name in _DELTA else "lz4" for name in EVENT_SCHEMA.names},
    "use_dictionary": False,
    "column_encoding": dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED"),
    "write_statistics": ["ts_ns"],
}


class SegmentWriter:
    """Write segments of a recording, one after the other; `segments` are those that are closed.

    Errors (OutputError) come out of `check`, `flush` or `close`.
    """

    def __init__(self, directory: Path, scaling: Scaling, on_closed: Callable[[], None] = lambda: None) -> None:
        self.segments: list[SegmentInfo] = []
        self.by_point: npt.NDArray[np.int64] = np.zeros(POINTS, np.int64)
        self._newest_ns = 0
        self._directory = directory
        self._scaling = scaling
        self._on_closed = on_closed
        self._numbers = {"segment": 0, "late": 0}
        self._thread = ThreadPoolExecutor(1, "vio-writer")
        self._futures: list[Future[None]] = []

    @property
    def written_ns(self) -> int:
        """The newest time in a closed segment."""
        return max((segment.last_ns for segment in self.segments), default=0)

    def put(self, parts: Sequence[Rows]) -> None:
        """Hand over rows: those newer than all closed segments make the next, the others a late file.

        They need no order; rows without a time (never stored) vanish.
        """
        if parts:
            self._submit(self._write_all, parts)

    def put_pending(self, rows: Rows) -> None:
        """Replace what stood in the batches; it counts until the recording has an end."""
        order = np.argsort(rows.time_ns, kind="stable")
        self._submit(self._write_pending, rows.pick(order))

    def check(self) -> None:
        """Raise what went wrong so far; wait if too much is on its way."""
        while self._futures and (self._futures[0].done() or len(self._futures) > 2 * _WAITING):
            self._futures.pop(0).result()

    def flush(self) -> None:
        """Wait until all is written."""
        while self._futures:
            self._futures.pop(0).result()

    def close(self) -> None:
        """Wait for the thread; what it still has to do is dropped if something went wrong."""
        self._thread.shutdown(cancel_futures=True)

    @property
    def rows(self) -> int:
        """How many rows are in closed segments."""
        return sum(segment.rows for segment in self.segments)

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        self.check()
        self._futures.append(self._thread.submit(work, *arguments))

    def _write_all(self, parts: Sequence[Rows]) -> None:
        rows = joined(parts)
        # the parts are sorted more or less: this merges them
        order = np.argsort(rows.time_ns, kind="stable")
        borders = np.searchsorted(rows.time_ns, [1, self._newest_ns + 1], sorter=order)
        for sort, which in (("late", order[slice(*borders)]), ("segment", order[borders[1] :])):
            if len(which):
                name = f"{sort}-{self._numbers[sort]:05}.parquet"
                self._numbers[sort] += 1
                self._write(name, rows, which)

    def _write(self, name: str, rows: Rows, order: npt.NDArray[np.intp]) -> None:
        path = self._directory / EVENTS_DIRECTORY / name
        with (
            replacing(path, is_durable=True) as temporary,
            pq.ParquetWriter(temporary, EVENT_SCHEMA, **PARQUET) as file,
        ):
            counts = np.zeros(POINTS, np.int64)
            for at in range(0, len(order), ROW_GROUP):
                table = decode(rows.pick(order[at : at + ROW_GROUP]), self._scaling)
                counts += np.bincount(table["point"].to_numpy(), minlength=POINTS)
                file.write_table(table, row_group_size=ROW_GROUP)
        first_ns, last_ns = (int(rows.time_ns[order[at]]) for at in (0, -1))
        self.segments.append(SegmentInfo(f"{EVENTS_DIRECTORY}/{name}", len(order), first_ns, last_ns))
        self._newest_ns = max(self._newest_ns, last_ns)
        self.by_point += counts
        self._on_closed()

    def _write_pending(self, rows: Rows) -> None:
        write_table(self._directory / PENDING_FILE, decode(rows, self._scaling), is_durable=False)


def remove_pending(directory: Path) -> None:
    """Remove what a closed recording does not need."""
    (directory / PENDING_FILE).unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make the names of all written files durable."""
    for place in (directory / EVENTS_DIRECTORY, directory):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
