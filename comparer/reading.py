"""Read the figures of a run from a recording, one table of its IOs after the other."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vio.comparer.depths import Depths
from vio.comparer.run import BLOCKS, LATENCY, ROWS, Block, DiskWords, Key, Run, RunInfo, Tally, idle_times_ns
from vio.comparer.sketch import Sketch, merged
from vio.errors import RecordingError
from vio.manifestfile import IOS_FILE
from vio.recording import Recording
from vio.reporter.buckets import BUCKETS, LARGEST, Ints
from vio.reporter.columns import values_of
from vio.reporter.iofile import ios_file
from vio.reporter.progress import Progress
from vio.reporter.recorded import Recorded
from vio.reporter.report import ReportOptions, report
from vio.reporter.tally import tally_groups
from vio.schema import OPS

_KEYS = ("io", "disk", "op", "bytes", "begin_ns", "is_whole")
_COLUMNS = (*_KEYS, *ROWS)
_CLASSES = 64
_OPS = 16


def read_run(
    path: Path,
    *,
    with_depth: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    is_ahead: bool = True,
) -> Run:
    """Read a recording's figures; its table of IOs is made first where it is absent.

    `with_depth` keeps IOs apart by how many were in flight when they began. `is_ahead` is as ReportOptions has it.

    Raises:
        RecordingError: the recording cannot be read, or has no IO that ended.
    """
    recording = Recording.open(path)
    reader = _Reader(tuple(disk.name for disk in recording.manifest.target.disks))
    with (
        tempfile.TemporaryDirectory(prefix="vio-compare-") as scratch,
        pq.ParquetFile(_table_file(path, Path(scratch), on_progress, is_ahead)) as file,
    ):
        depths = Depths.of(_tables(file, ("begin_ns", LATENCY))) if with_depth else None
        for table in _tables(file, _COLUMNS):
            reader.add(table, file.metadata.num_rows, depths)
    if not reader.ended_count:
        raise RecordingError(f"{path} has no IO that ended", "record while the load runs")
    return Run(_info(recording, reader.whole_count / reader.io_count), reader.blocks())


def _table_file(path: Path, scratch: Path, on_progress: Callable[[Progress], None] | None, is_ahead: bool) -> Path:
    options = ReportOptions(slowest=0, with_figures=False, is_ahead=is_ahead)
    file = ios_file(path, on_progress, options)
    if file is None:  # the recording's directory cannot be written
        file = scratch / IOS_FILE
        report(path, replace(options, table_path=file), on_progress)
    return file


def _tables(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=list(columns), use_threads=False)


@dataclass(slots=True)
class _Pending:
    """What one key has in one block, before it is merged."""

    io_count: int = 0
    bytes: int = 0
    rows: defaultdict[str, list[Sketch]] = field(default_factory=lambda: defaultdict(list))


class _Reader:
    """Counts tables of IOs. A block has as many IOs as any other; which are in it goes by the order of beginning."""

    def __init__(self, disks: tuple[str, ...]) -> None:
        self._disks = disks
        self._pending: defaultdict[tuple[int, int], _Pending] = defaultdict(_Pending)
        self._bounds = np.array([[np.iinfo(np.int64).max, 0]] * BLOCKS, dtype=np.int64)
        self.io_count = self.ended_count = self.whole_count = 0

    def add(self, table: pa.Table, total: int, depths: Depths | None = None) -> None:
        """Count the IOs of a table of a recording with so many in `total`."""
        self.io_count += table.num_rows
        self.whole_count += pc.sum(table["is_whole"]).as_py() or 0
        ios = table.filter(pc.is_valid(table[LATENCY])) if table[LATENCY].null_count else table
        if not ios.num_rows:
            return
        self.ended_count += ios.num_rows
        block = np.clip(ios["io"].to_numpy() * BLOCKS // total, 0, BLOCKS - 1)
        length = ios["bytes"].to_numpy()
        code = (block * (len(self._disks) + 1) + ios["disk"].to_numpy() + 1) * _OPS + ios["op"].to_numpy()
        depth = depths.at(ios["begin_ns"].to_numpy()) if depths else np.zeros_like(length)
        code = (code * _CLASSES + _class(length)) * _CLASSES + _class(depth)
        present, number = np.unique(code, return_inverse=True)
        pending = [self._pending[divmod(int(one), (len(self._disks) + 1) * _OPS * _CLASSES**2)] for one in present]
        counts = np.bincount(number, minlength=present.size)
        sums = np.bincount(number, weights=length, minlength=present.size)
        for one, count, size in zip(pending, counts.tolist(), sums.tolist(), strict=True):
            one.io_count += count
            one.bytes += round(size)
        self._bound(block, ios)
        for name in ROWS:
            _count_row(ios[name], name, number, pending)

    def _bound(self, block: Ints, ios: pa.Table) -> None:
        begin = ios["begin_ns"].to_numpy()
        end = begin + ios[LATENCY].to_numpy()
        for one in np.flatnonzero(np.bincount(block)):
            mine = block == one
            self._bounds[one] = min(self._bounds[one][0], begin[mine].min()), max(self._bounds[one][1], end[mine].max())

    def blocks(self) -> tuple[Block, ...]:
        """Return what was counted."""
        found: dict[int, dict[Key, Tally]] = {}
        for (block, code), one in sorted(self._pending.items()):
            rows = {name: merged(some) for name, some in one.rows.items()}
            found.setdefault(block, {})[self._key(code)] = Tally(one.io_count, one.bytes, rows)
        bounds = [(begin, end) for begin, end in self._bounds[list(found)].tolist()]
        parts = zip(bounds, found.values(), idle_times_ns(bounds), strict=True)
        return tuple(Block(begin_ns, end_ns, tallies, idle_ns) for (begin_ns, end_ns), tallies, idle_ns in parts)

    def _key(self, code: int) -> Key:
        rest, depth = divmod(code, _CLASSES)
        rest, size = divmod(rest, _CLASSES)
        disk, op = divmod(rest, _OPS)
        name = self._disks[disk - 1] if 0 < disk <= len(self._disks) else "unknown"
        return Key(name, OPS[op].value, size - 1, depth - 1)


def _class(number: Ints) -> Ints:
    """Return 0 for nothing, else one more than the exponent of the power of two at or below it."""
    return np.asarray(np.frexp(np.clip(number, 0, None).astype(np.float64))[1], dtype=np.int64)


def _count_row(column: pa.ChunkedArray, name: str, number: Ints, pending: list[_Pending]) -> None:
    if column.null_count == len(column):
        return
    values = values_of(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())
    counts, sums = np.zeros((len(pending), BUCKETS), np.int64), np.zeros(len(pending), np.int64)
    least, largest = tally_groups(values.all_ns, values.bits, values.first, number, sums, counts)
    if least < 0 or largest > LARGEST:
        raise RecordingError(f"a time in {name} cannot be", "take ios.parquet away: it is made anew")
    for one, mine, total in zip(pending, counts, sums.tolist(), strict=True):
        buckets = np.flatnonzero(mine)
        if buckets.size:
            one.rows[name].append(Sketch(buckets, mine[buckets], total))


def _info(recording: Recording, whole_share: float) -> RunInfo:
    manifest = recording.manifest
    losses = recording.read_losses()
    lost = -1 if any(one.records < 0 for one in losses) else sum(one.records for one in losses)
    maps, recorded = recording.read_maps(), Recorded(str(recording.path), manifest)
    return RunInfo(
        name=recording.path.name,
        started_ns=manifest.clock.start.wall_ns,
        duration_s=recorded.duration_s,
        host=manifest.host.name,
        kernel=manifest.host.kernel,
        cpu_count=manifest.host.cpu_count,
        qemu=manifest.target.version,
        vio=manifest.creator.version,
        bpftrace=manifest.creator.bpftrace,
        points=tuple(sorted(point.name for point in manifest.points)),
        layers=tuple(sorted({point.layer.value for point in manifest.points if point.role != "mark"})),
        disks=tuple(DiskWords(one.name, one.format, one.cache, one.aio) for one in manifest.target.disks),
        lost=lost,
        is_cut=not recording.is_ended or manifest.clock.stop is None,
        whole_share=whole_share,
        extents=0 if maps is None else maps.num_rows,
        tracing_cpu_s=manifest.cost.vio_cpu_s + manifest.cost.bpftrace_cpu_s,
        added_us_per_io=manifest.cost.added_us_per_io,
        target_cpu_s=manifest.target_cpu_s,
        stolen_share=recorded.stolen_share,
    )
