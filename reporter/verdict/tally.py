"""What the rules need beside the report's own figures: sums by disk and operation, window by window."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vio.layer import Op, Phase, Stage
from vio.reporter.columns import numbers_of
from vio.reporter.compiled import Bools, Ints
from vio.reporter.fanout import WAYS, Fanout
from vio.reporter.group import read_keys
from vio.reporter.verdict.pace import Pace, Run
from vio.schema import OPS, time_column

UNIT_BYTES = 4096
"""What file systems, page caches and most devices count in: a write of anything else is misaligned."""
SLICE_BYTES = 32 << 20
"""What one slice of qcow2's L2 tables covers (4 KiB of entries, clusters of 64 KiB); less with small clusters."""
SUMMED = ("metadata_ns", "cow_ns", "runqueue_ns", "stopped_ns", "wakeup_ns", "kick_ns", "inject_ns")
LATE = (Stage.QEMU_AIO, Stage.QEMU_BLOCK, Stage.QEMU_DEVICE)
"""What is above what carries out an IO: their time on the way up is QEMU's, to notice and to tell the guest."""
_LATE = tuple(time_column(stage, Phase.UP) for stage in LATE)
_TIMES = tuple(time_column(stage, phase) for stage in Stage for phase in Phase)
_TAIL = 0.99
_SMALL = 1 << 20


def _times() -> Ints:
    return np.zeros(len(_TIMES), dtype=np.int64)


@dataclass(slots=True, eq=False)
class Tally:
    """One operation on one disk. `sum_ns` and `some` (how many had more than 0, how many are known) are of SUMMED.

    `placed_ns` is from the first bio's queueing to the request's insertion into the scheduler, `queued_ns` from there
    to its issue, of `inserted` IOs. `explained_ns` is what waiting for a CPU, and being stopped, can explain of the
    time on the way up through LATE, of each IO no more than it has there. `odd` are those that are not of whole units,
    `tail_ns` the own times (stages x phases) of the `tail` slowest, about one in a hundred. Times are of ended IOs.
    """

    count: int = 0
    sum_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED, 0))
    some: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED, 0))
    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED, 0))
    metadata_reads: int = 0
    slices: set[int] = field(default_factory=set)
    inserted: int = 0
    placed_ns: int = 0
    queued_ns: int = 0
    explained_ns: int = 0
    odd: int = 0
    odd_ns: int = 0
    tail: int = 0
    tail_ns: Ints = field(default_factory=_times)
    first_ns: int = 0
    last_ns: int = 0
    fanout: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    split: int = 0
    tids: dict[int, int] = field(default_factory=dict)
    devices: dict[int, int] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    released: Pace = field(default_factory=Pace)
    issued: Pace = field(default_factory=Pace)

    @property
    def active_ns(self) -> int:
        """From the first begin to the last end."""
        return max(self.last_ns - self.first_ns, 1)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a batch of schema.IOS, those of a group together (`order`), read column by column and once."""

    batch: pa.RecordBatch
    order: Ints
    span: slice
    _read: dict[str, Ints] = field(default_factory=dict)

    def part(self, span: slice) -> "Rows":
        """Return some of these rows."""
        return Rows(self.batch, self.order, span, self._read)

    def places(self, which: Ints) -> Ints:
        """Return where in the batch some of these rows are."""
        return self.order[self.span][which]

    def are_known(self, name: str) -> Bools:
        """Tell which of the rows have a value there."""
        return np.asarray(self.batch.column(name).is_valid())[self.order[self.span]]

    def has(self, name: str) -> bool:
        """Tell whether any row of the batch has a value there."""
        column = self.batch.column(name)
        return bool(column.null_count < len(column))

    def __getitem__(self, name: str) -> Ints:
        """Return a column of whole numbers, 0 where there is none."""
        if name not in self._read:
            self._read[name] = numbers_of(self.batch.column(name), self.order)
        return self._read[name][self.span]


@dataclass(slots=True)
class Tallies:
    """All of them, by operation and disk; fed with tables of schema.IOS, window by window."""

    groups: dict[tuple[Op, int], Tally] = field(default_factory=dict)
    has_fanout: bool = False

    def add(self, ios: pa.Table, fanout: Fanout | None) -> None:
        """Count the IOs of one table; `fanout` is theirs, in the same order."""
        self.has_fanout = self.has_fanout or fanout is not None
        ended = np.flatnonzero(np.array(ios["latency_ns"].is_valid())) if ios["latency_ns"].null_count else None
        if ended is not None:
            ios, fanout = ios.take(pa.array(ended)), fanout.take(ended) if fanout else None
        if not ios.num_rows:
            return
        batch = ios.combine_chunks().to_batches()[0]
        keys = read_keys(batch)
        tallies = [self.groups.setdefault((OPS[op], disk), Tally()) for op, disk in keys.groups]
        rows = Rows(batch, keys.order, slice(None))
        fanout = fanout.take(keys.order) if fanout is not None else None
        summed = [name for name in SUMMED if rows.has(name)]
        slow = []
        for one, span in zip(tallies, keys.spans, strict=True):
            part = rows.part(span)
            _add_sums(one, part, summed)
            _add_own(one, part)
            _add_late(one, part)
            slow.append(part.places(_slowest(part["latency_ns"])))
            _add_below(one, part)
            if fanout is not None:
                _add_fanout(one, fanout.take(span))
        _add_tails(tallies, slow, batch)


def _add_sums(one: Tally, rows: Rows, names: list[str]) -> None:
    for name in names:
        values = rows[name]
        one.sum_ns[name] += int(values.sum())
        one.some[name] += int(np.count_nonzero(values > 0))
        one.known[name] += int(np.count_nonzero(rows.are_known(name)))


def _add_own(one: Tally, rows: Rows) -> None:
    offset, length, begin, latency = (rows[name] for name in ("offset", "bytes", "begin_ns", "latency_ns"))
    one.count += offset.size
    one.first_ns = min(one.first_ns or int(begin[0]), int(begin.min()))
    one.last_ns = max(one.last_ns, int((begin + latency).max()))
    is_odd = ((offset | length) & (UNIT_BYTES - 1)) != 0
    one.odd += int(np.count_nonzero(is_odd))
    one.odd_ns += _sum_of(latency, is_odd)
    _count(one.tids, rows["tid"])
    one.run.add(offset, length, begin, begin + latency, rows["merged_into"])


def _add_late(one: Tally, rows: Rows) -> None:
    late_ns = sum((rows[name] for name in _LATE if rows.has(name)), start=np.zeros_like(rows["runqueue_ns"]))
    one.explained_ns += int(np.minimum(rows["runqueue_ns"] + rows["stopped_ns"], late_ns).sum())


def _slowest(latency: Ints) -> Ints:
    """Return the slowest of a window, at least one: nobody knows yet what is slow in all."""
    rank = min(int(latency.size * _TAIL), latency.size - 1)
    return np.argpartition(latency, rank)[rank:]


def _add_tails(tallies: list[Tally], slow: list[Ints], batch: pa.RecordBatch) -> None:
    """Add the own times of the slowest rows of each."""
    rows = np.concatenate(slow)
    times = np.zeros((len(_TIMES), rows.size), dtype=np.int64)
    for place, name in enumerate(_TIMES):
        column = batch.column(name)
        if column.null_count < len(column):
            times[place] = numbers_of(column, rows)
    first = 0
    for one, mine in zip(tallies, slow, strict=True):
        one.tail += mine.size
        one.tail_ns += times[:, first : first + mine.size].sum(axis=1)
        first += mine.size


def _add_below(one: Tally, rows: Rows) -> None:
    if rows.has("metadata_reads"):
        one.metadata_reads += int(rows["metadata_reads"].sum())
        one.slices.update(_few(rows["offset"] // SLICE_BYTES).tolist())
    if not rows.has("device"):
        return
    _count(one.devices, rows["device"])
    issue_ns = rows["t_rq_issue_ns"]
    one.issued.add(issue_ns, rows[time_column(Stage.BLOCK, Phase.DOWN)])
    one.released.add(rows["t_aio_submit_ns"], rows[time_column(Stage.QEMU_BLOCK, Phase.DOWN)])
    if rows.has("t_rq_insert_ns"):
        insert_ns, queue_ns = rows["t_rq_insert_ns"], rows["t_bio_queue_ns"]
        is_there = (insert_ns > 0) & (queue_ns > 0) & (issue_ns >= insert_ns)
        one.inserted += int(np.count_nonzero(is_there))
        one.placed_ns += _sum_of(insert_ns - queue_ns, is_there)
        one.queued_ns += _sum_of(issue_ns - insert_ns, is_there)


def _sum_of(values: Ints, which: Bools) -> int:
    """Add up some of the values; NumPy's own `sum(where=...)` takes ten times as long."""
    return int((values * which).sum())


def _count(into: dict[int, int], values: Ints) -> None:
    """Count values, which are mostly all the same."""
    least, most = int(values.min()), int(values.max())
    found = [[least], [values.size]] if least == most else np.unique(values, return_counts=True)
    for value, count in zip(*found, strict=True):
        into[int(value)] = into.get(int(value), 0) + int(count)


def _few(values: Ints) -> Ints:
    """Return the different ones of some numbers that are small, or few."""
    if int(values.max()) < _SMALL:
        return np.flatnonzero(np.bincount(values))
    return np.unique(values)


def _add_fanout(one: Tally, fanout: Fanout) -> None:
    for name in WAYS:
        one.fanout[name] += int(getattr(fanout, name).sum())
    one.split += int(np.count_nonzero((fanout.requests > 1) | (fanout.handed > 1)))
