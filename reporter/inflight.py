"""IOs that had not completed when the recording stopped: how far each came, where it is, and what its thread does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio.layer import Op, Stage
from vio.manifest import ThreadState
from vio.recording import Recording
from vio.reporter.join import Joined
from vio.reporter.match import Ints
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in, rows_of
from vio.reporter.stream import Join
from vio.schema import OPS

_STAGES = tuple(Stage)


@dataclass(frozen=True, slots=True)
class InFlight:
    """One of them. `stage` and `point` are the last that it reached, `point_s` when (from the recording's start).

    `stage` is the deepest at work. `thread` is the one that passed the last point outside of interrupts, None where
    its state was not recorded (`tid` is known all the same). Addresses are in bytes, None where it did not get so far.
    """

    io: int
    op: Op
    disk: str
    offset: int
    bytes: int
    age_ns: int
    stage: Stage
    point: str
    waits_ns: int
    tid: int
    thread: ThreadState | None
    file_offset: int | None
    device: str
    device_offset: int | None


@dataclass(frozen=True, slots=True)
class InFlightIos:
    """All of them, the oldest first; `has_threads` tells whether the threads' states were recorded."""

    recorded: Recorded
    ios: tuple[InFlight, ...]
    has_threads: bool


def in_flight(path: Path) -> InFlightIos:
    """Find the IOs of a recording that had not completed.

    Raises:
        RecordingError: the recording cannot be read.
    """
    recording = Recording.open(path)
    recorded = Recorded.of(recording)
    threads = {one.tid: one for one in recording.manifest.threads_at_stop}
    found: list[InFlight] = []
    for table, joined in Join(recording).windows():
        latency = table["latency_ns"]
        if not latency.null_count:
            continue
        which = np.flatnonzero(np.array(latency.is_null()))
        positions = np.flatnonzero(joined.is_done)[which]
        rows = rows_of(table.take(which.tolist()))
        trail = _Trail.of(joined)
        found += [
            _one(row, int(place), trail, recorded, threads) for row, place in zip(rows, positions.tolist(), strict=True)
        ]
    found.sort(key=lambda one: -one.age_ns)
    return InFlightIos(recorded, tuple(found), bool(threads))


@dataclass(frozen=True, slots=True)
class _Trail:
    """The spans of a window's IOs, those of each together: which events it passed."""

    joined: Joined
    order: Ints
    first: Ints

    @classmethod
    def of(cls, joined: Joined) -> "_Trail":
        owner = joined.spans.owner
        order = np.argsort(owner, kind="stable")
        first = np.searchsorted(owner[order], np.arange(joined.ios.begin.size + 1))
        return cls(joined, order, first)

    def last(self, position: int) -> tuple[Stage, int, int]:
        """Return the deepest stage at work, the last event, and the last one that a thread of its own passed."""
        spans = self.joined.spans
        head = int(self.joined.ios.head[position])
        mine = self.order[self.first[head] : self.first[head + 1]]
        at_work = mine[spans.end[mine] < 0]
        stage = int(spans.stage[at_work].max()) if at_work.size else int(spans.stage[mine].max(initial=0))
        begins = spans.begin[mine]
        first = int(self.joined.ios.begin[position])
        last = int(max(begins.max(initial=first), spans.end[mine].max(initial=first), self._queued(head)))
        return _STAGES[stage], last, int(begins.max(initial=first))

    def _queued(self, head: int) -> int:
        """Return the last bio that an IO has queued: one that is held back begins no request."""
        owner = self.joined.submit_io[self.joined.links.bio_submit]
        bios = np.flatnonzero((self.joined.links.bio_submit >= 0) & (owner == head))
        return int(self.joined.blocks.bio[bios].max(initial=-1))


def _one(row: IoRow, position: int, trail: _Trail, recorded: Recorded, threads: Mapping[int, ThreadState]) -> InFlight:
    ev = trail.joined.window.events
    stage, last, by_thread = trail.last(position)
    names = {point.number: point for point in recorded.manifest.points}
    point = names.get(int(ev.point[last]))
    if point is not None and _STAGES.index(Stage(point.layer.value)) > _STAGES.index(stage):
        stage = Stage(point.layer.value)
    tid = int(ev.tid[by_thread])
    device = row["device"]
    return InFlight(
        number_in(row, "io"),
        OPS[number_in(row, "op")],
        recorded.disk_name(number_in(row, "disk")),
        number_in(row, "offset"),
        number_in(row, "bytes"),
        recorded.stop_ns - number_in(row, "begin_ns"),
        stage,
        point.name if point else "",
        recorded.stop_ns - int(ev.ts_ns[last]),
        tid,
        threads.get(tid),
        row["file_offset"],
        recorded.device_name(int(device)) if device is not None else "",
        row["device_offset"],
    )
