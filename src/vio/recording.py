"""Read a recording: a directory with manifest.json, events in closed segments, losses, maps, the program, the log.

manifest.json             what was recorded, how, and what was lost (vio.manifest)
events/segment-NNNNN.parquet   events, sorted by time; segments follow each other without overlap
events/late-NNNNN.parquet      events that came after the segment of their time had been closed, sorted
losses.parquet            what was lost, and when
maps.parquet              addresses of one layer -> addresses of the next (vio.mappers.store)
guestfiles.parquet        where the guest's files lie on its disks, if it was asked for (vio.mappers.guestfs.store)
pending.parquet           what stood in the kernel's batches lately; counts only without an orderly end
program.bt, log.txt       the bpftrace program, and what bpftrace said
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vio.errors import RecordingError
from vio.losses import Loss, LossKind, losses_of
from vio.manifest import Manifest, State
from vio.manifestfile import EVENTS_DIRECTORY as EVENTS_DIRECTORY
from vio.manifestfile import LONGEST_NS, fingerprint, read_manifest
from vio.manifestfile import LOSSES_FILE as LOSSES_FILE
from vio.manifestfile import MANIFEST as MANIFEST
from vio.manifestfile import MAPS_FILE as MAPS_FILE
from vio.manifestfile import PENDING_FILE as PENDING_FILE
from vio.schema import EVENTS, arrow_schema

GUEST_FILES_FILE = "guestfiles.parquet"
PROGRAM_FILE = "program.bt"
LOG_FILE = "log.txt"
EVENT_SCHEMA = arrow_schema(EVENTS)
_COLUMNS = [column.name for column in EVENTS]
PIECE = 1 << 18  # events read at once: what is done with them in one go stays near the processor
_DAMAGED = (OSError, pa.ArrowException, ValueError, KeyError)


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of events, its rows sorted by time."""

    path: Path
    rows: int
    first_ns: int
    last_ns: int

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the events, or some columns of them.

        Raises:
            RecordingError: the file is damaged.
        """
        return _checked(self.path, _read_table(self.path, columns), self.first_ns, self.last_ns)

    def pieces(self, columns: Sequence[str], most: int = PIECE) -> Iterator[pa.Table]:
        """Yield the events (`ts_ns` must be among the columns) in tables of whole row groups, none of them empty.

        They have at most so many rows each, if a row group has not more.

        Raises:
            RecordingError: the file is damaged.
        """
        first_ns = self.first_ns
        for piece in _read_pieces(self.path, columns, most):
            yield _checked(self.path, piece, first_ns, self.last_ns)
            first_ns = piece["ts_ns"][-1].as_py()


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was opened; `damage` are the losses that opening found."""

    path: Path
    manifest: Manifest
    damage: tuple[Loss, ...]
    _segments: tuple[Segment, ...]
    _late: tuple[Segment, ...]

    @classmethod
    def open(cls, path: Path) -> "Recording":
        """Open a recording; a damaged segment is left out and counted as a loss.

        Raises:
            RecordingError: there is none, its manifest cannot be believed, or it is of a newer version.
        """
        manifest = read_manifest(path)
        damage: list[Loss] = []
        segments = _find(path, "segment", manifest, damage)
        late = _find(path, "late", manifest, damage)
        return cls(path, manifest, tuple(damage), tuple(segments), tuple(late))

    @property
    def is_ended(self) -> bool:
        """Whether it was closed in order, complete or not."""
        return self.manifest.state is not State.RUNNING

    @property
    def rows(self) -> int:
        """How many events the readable segments hold, those that came late included, the pending ones not."""
        return sum(segment.rows for segment in (*self._segments, *self._late))

    def fingerprint(self) -> str:
        """Return what changes when a file that a report reads does: the manifest, or the size of another."""
        return fingerprint(self.path, [one.path for one in (*self._segments, *self._late)])

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments in the order of time; they do not overlap, but events that came late are not in them."""
        return self._segments

    def late_segments(self) -> tuple[Segment, ...]:
        """Return the files of events that came after the segment of their time had been closed."""
        return self._late

    def tables(self, columns: Sequence[str] = tuple(_COLUMNS), most: int = PIECE) -> Iterator[pa.Table]:
        """Yield all events in the order of time, some row groups in a table, the late and pending ones in their places.

        A table has at most so many rows, if a row group and what is scattered have not more. Memory: a few row groups,
        and all late events.
        """
        wanted = list(dict.fromkeys(["ts_ns", *columns]))
        rest = self._scattered(wanted)
        times = rest["ts_ns"].to_numpy()
        at = 0
        for segment in self._segments:
            for piece in segment.pieces(wanted, most):
                upto = int(np.searchsorted(times, piece["ts_ns"][-1].as_py(), side="right"))
                yield _merge(piece, rest.slice(at, upto - at)).select(list(columns))
                at = upto
        if at < rest.num_rows:
            yield rest.slice(at).select(list(columns))

    def read_losses(self) -> list[Loss]:
        """Return all losses: those that the recorder knew, and the files that cannot be read.

        Raises:
            RecordingError: losses.parquet is damaged, or lacking in a recording that was closed.
        """
        path = self.path / LOSSES_FILE
        if not path.exists() and not self.is_ended:
            return list(self.damage)
        return [*losses_of(_read_table(path, None)), *self.damage]

    def read_maps(self) -> pa.Table | None:
        """Return the stored maps as a table for vio.mappers.store.from_table; None if there are none."""
        path = self.path / MAPS_FILE
        return _read_table(path, None) if path.exists() else None

    def read_guest_files(self) -> pa.Table | None:
        """Return where the guest's files lie, for vio.mappers.guestfs.store.files_from; None if it is not stored."""
        path = self.path / GUEST_FILES_FILE
        return _read_table(path, None) if path.exists() else None

    def read_pending(self) -> pa.Table:
        """Return the events that stood in the kernel's batches when the recorder was killed, sorted by time."""
        path = self.path / PENDING_FILE
        if self.is_ended or not path.exists():
            return EVENT_SCHEMA.empty_table()
        start_ns = self.manifest.clock.start.boottime_ns
        events = _read_table(path, _COLUMNS).sort_by("ts_ns")
        return self._without_stored(_checked(path, events, start_ns - LONGEST_NS, start_ns + LONGEST_NS))

    def _scattered(self, columns: list[str]) -> pa.Table:
        parts = [segment.read(columns) for segment in self._late]
        parts.append(self.read_pending().select(columns))
        return pa.concat_tables(parts).sort_by("ts_ns")

    def _without_stored(self, pending: pa.Table) -> pa.Table:
        """Drop what was stored after the batches had last been looked at."""
        if pending.num_rows == 0:
            return pending
        oldest = int(pending["ts_ns"].to_numpy().min())
        stored: set[tuple[int, ...]] = set()
        for segment in (*self._segments, *self._late):
            if segment.last_ns >= oldest:
                table = segment.read(["ts_ns", "point", "tid"])
                near = np.isin(table["ts_ns"].to_numpy(), pending["ts_ns"].to_numpy())
                stored.update(_identities(table.filter(pa.array(near))))
        fresh = [identity not in stored for identity in _identities(pending)]
        return pending.filter(pa.array(fresh, pa.bool_()))


def _find(path: Path, sort: str, manifest: Manifest, damage: list[Loss]) -> list[Segment]:
    """List the readable files of one sort; what is damaged or gone becomes a loss."""
    known = {one.file: one for one in manifest.segments if one.file.startswith(f"{EVENTS_DIRECTORY}/{sort}-")}
    present = {f"{EVENTS_DIRECTORY}/{file.name}": file for file in (path / EVENTS_DIRECTORY).glob(f"{sort}-*.parquet")}
    found: list[Segment] = []
    for name in sorted(known.keys() | present.keys()):
        try:
            found.append(_open_segment(path / name, manifest.clock.start.boottime_ns))
        except _DAMAGED:
            promised = known.get(name)
            before = found[-1].last_ns if found else manifest.clock.start.boottime_ns
            damage.append(
                Loss(LossKind.SEGMENT, name, promised.rows, promised.first_ns, promised.last_ns)
                if promised
                else Loss(LossKind.SEGMENT, name, -1, before, _end_ns(manifest, before))
            )
    return found


def _end_ns(manifest: Manifest, before_ns: int) -> int:
    return manifest.clock.stop.boottime_ns if manifest.clock.stop else before_ns


def _open_segment(path: Path, start_ns: int) -> Segment:
    footer = pq.read_metadata(path)
    schema = footer.schema.to_arrow_schema()
    wrong = [field.name for field in EVENT_SCHEMA if schema.field(field.name).type != field.type]
    if wrong:
        raise ValueError(wrong)
    at = footer.schema.names.index("ts_ns")
    stats = [footer.row_group(group).column(at).statistics for group in range(footer.num_row_groups)]
    if not all(one is not None and one.has_min_max for one in stats):
        raise ValueError("ts_ns")
    first = min((int(one.min) for one in stats), default=start_ns)
    last = max((int(one.max) for one in stats), default=start_ns)
    if first < start_ns - LONGEST_NS or last > start_ns + LONGEST_NS:
        raise ValueError("ts_ns")
    return Segment(path, footer.num_rows, first, last)


def _read_table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with _opened(path) as file:
        return file.read(columns=None if columns is None else list(columns), use_threads=False)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        # Read ahead, a small file is copied once more: a quarter of the time.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except FileNotFoundError:
        raise RecordingError(f"{path} is missing", "copy the whole directory of the recording") from None
    except _DAMAGED as error:
        reason = str(error).splitlines()[0][:200]
        raise RecordingError(f"{path} is damaged: {reason}", "move it away to report on the rest") from None


def _read_pieces(path: Path, columns: Sequence[str], most: int) -> Iterator[pa.Table]:
    """Yield a file's events, as many row groups at once as are at most so many events, or one."""
    with _opened(path) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        for numbers in _together(sizes, most):
            yield file.read_row_groups(numbers, columns=list(columns), use_threads=False)


def _together(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Group the numbers of neighbouring row groups; those without rows are left out."""
    numbers: list[int] = []
    rows = 0
    for number, size in enumerate(sizes):
        if numbers and rows + size > most:
            yield numbers
            numbers, rows = [], 0
        if size:
            numbers.append(number)
            rows += size
    if numbers:
        yield numbers


def _checked(path: Path, events: pa.Table, first_ns: int, last_ns: int) -> pa.Table:
    """Return events that are there, in order and within these times, as every reader takes for granted."""
    times = events["ts_ns"].to_numpy() if "ts_ns" in events.column_names else np.empty(0, np.int64)
    why = "values are missing" if any(column.null_count for column in events.columns) else ""
    if not why and times.size and (times[0] < first_ns or times[-1] > last_ns or bool((times[1:] < times[:-1]).any())):
        why = "its events are not in order of time"
    if why:
        raise RecordingError(f"{path} is damaged: {why}", "move it away to report on the rest")
    # An older vio declared its columns as nullable.
    fields = [EVENT_SCHEMA.field(one.name) if one.name in _COLUMNS else one for one in events.schema]
    return pa.Table.from_arrays(events.columns, schema=pa.schema(fields))


def _merge(table: pa.Table, other: pa.Table) -> pa.Table:
    return pa.concat_tables([table, other]).sort_by("ts_ns") if other.num_rows else table


def _identities(table: pa.Table) -> list[tuple[int, ...]]:
    return list(zip(*(table[name].to_pylist() for name in ("ts_ns", "point", "tid")), strict=True))
