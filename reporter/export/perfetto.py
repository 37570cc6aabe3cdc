"""Perfetto's trace format: a track for each disk and layer, a slice for each span, a flow for each IO, and counters."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    BuiltinClock,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)

from vio.layer import Phase, Stage
from vio.manifest import Moment
from vio.printable import printable
from vio.reporter.export.chosen import ChosenIos
from vio.reporter.export.counters import Counters
from vio.reporter.export.exported import Exported
from vio.reporter.export.lanes import Lanes
from vio.reporter.export.pieces import Pieces
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.reporter.spans import Span, hulls
from vio.schema import OPS, time_column

PIECE_BYTES = 256 << 20
_SEQUENCE = 1
_TARGET = 1  # uuid of the track that all others are below
_STAGES = tuple(Stage)


@dataclass(slots=True)
class _Tracks:
    """The tracks of one piece: their numbers, made when first used."""

    recorded: Recorded
    lanes: dict[tuple[int, Stage], Lanes] = field(default_factory=dict)
    known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def disk(self, trace: Trace, disk: int) -> int:
        return self._uuid(trace, (disk,), printable(self.recorded.disk_name(disk)), _TARGET, disk)

    def slices(self, trace: Trace, disk: int, span: Span) -> int:
        """Return a track of the span's stage that is free; those of one name and parent are shown as one."""
        lane = self.lanes.setdefault((disk, span.stage), Lanes()).take(span.begin_ns, span.end_ns)
        rank = 10 + _STAGES.index(span.stage)
        return self._uuid(trace, (disk, span.stage, lane), span.stage.value, self.disk(trace, disk), rank)

    def counter(self, trace: Trace, disk: int, name: str, unit: str) -> int:
        key = (disk, name)
        is_new = key not in self.known
        uuid = self._uuid(trace, key, name, self.disk(trace, disk), 0)
        if is_new:
            trace.packet[-1].track_descriptor.counter.unit_name = unit
        return uuid

    def _uuid(self, trace: Trace, key: tuple[object, ...], name: str, parent: int, rank: int) -> int:
        if key not in self.known:
            self.known[key] = len(self.known) + _TARGET + 1
            track = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
            track.uuid, track.parent_uuid, track.name = self.known[key], parent, name
            track.sibling_order_rank = rank
            track.child_ordering = TrackDescriptor.EXPLICIT
        return self.known[key]


def write_perfetto(ios: ChosenIos, path: Path, piece_bytes: int = PIECE_BYTES) -> Exported:
    """Write traces in pieces of some size, each whole in itself: no IO is in two of them.

    Raises:
        OutputError: a file cannot be written.
    """
    counters = Counters.of(ios)
    waiting = {disk: counters.values(disk) for disk in counters.begun}
    done = Exported([])
    with Pieces(path, piece_bytes) as pieces:
        tracks = _begin(pieces, ios.recorded)
        for rows in ios.rows():
            if pieces.is_full:
                tracks = _begin(pieces, ios.recorded)
            trace = Trace()
            for row in rows:
                done.spans += _add_io(trace, tracks, row)
            done.ios += len(rows)
            upto_ns = max((number_in(row, "begin_ns") for row in rows), default=0)
            _add_counters(trace, tracks, waiting, upto_ns)
            pieces.write(trace.SerializeToString())
        trace = Trace()
        _add_counters(trace, tracks, waiting, None)
        pieces.write(trace.SerializeToString())
    done.files, done.bytes = pieces.files, pieces.total_bytes
    return done


def _begin(pieces: Pieces, recorded: Recorded) -> _Tracks:
    """Begin a piece: the clocks, so that a viewer can show the time of day, and the track of the target."""
    pieces.begin()
    trace = Trace()
    first = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE)
    first.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    clock = recorded.manifest.clock
    for moment in (clock.start, clock.stop) if clock.stop else (clock.start,):
        _add_clocks(trace, moment)
    target = recorded.manifest.target
    track = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
    track.uuid = _TARGET
    track.process.pid = target.pid
    track.process.process_name = printable(target.name or target.exe)
    track.child_ordering = TrackDescriptor.EXPLICIT
    pieces.write(trace.SerializeToString())
    return _Tracks(recorded)


def _add_clocks(trace: Trace, moment: Moment) -> None:
    snapshot = trace.packet.add().clock_snapshot
    snapshot.primary_trace_clock = BuiltinClock.BUILTIN_CLOCK_BOOTTIME
    snapshot.clocks.add(clock_id=BuiltinClock.BUILTIN_CLOCK_BOOTTIME, timestamp=moment.boottime_ns)
    snapshot.clocks.add(clock_id=BuiltinClock.BUILTIN_CLOCK_REALTIME, timestamp=moment.wall_ns)


def _add_io(trace: Trace, tracks: _Tracks, row: IoRow) -> int:
    spans = hulls(row, tracks.recorded)
    disk, flow = number_in(row, "disk"), number_in(row, "io") + 1
    for span in spans:
        uuid = tracks.slices(trace, disk, span)
        begin = _event(trace, span.begin_ns, uuid, TrackEvent.TYPE_SLICE_BEGIN)
        begin.name = OPS[number_in(row, "op")].value
        if len(spans) > 1:
            (begin.terminating_flow_ids if span is spans[-1] else begin.flow_ids).append(flow)
        _annotate(begin, row, span)
        if span.end_ns is not None:
            _event(trace, max(span.begin_ns, span.end_ns), uuid, TrackEvent.TYPE_SLICE_END)
    return len(spans)


def _annotate(event: TrackEvent, row: IoRow, span: Span) -> None:
    event.debug_annotations.add(name="io", int_value=number_in(row, "io"))
    for phase in Phase:
        own_ns = row[time_column(span.stage, phase)]
        if own_ns:
            event.debug_annotations.add(name=f"own_{phase}_ns", int_value=own_ns)
    if span.offset is not None:
        event.debug_annotations.add(name="offset", int_value=span.offset)
        event.debug_annotations.add(name="space", string_value=printable(span.space))
    if span.bytes is not None:
        event.debug_annotations.add(name="bytes", int_value=span.bytes)


def _add_counters(
    trace: Trace, tracks: _Tracks, waiting: dict[int, Iterator[tuple[int, int, float]]], upto_ns: int | None
) -> None:
    """Write the counters up to a time, or all that are left."""
    for disk, values in waiting.items():
        in_flight = tracks.counter(trace, disk, "in flight", "IOs")
        rate = tracks.counter(trace, disk, "IOPS", "IOs/s")
        for time_ns, count, per_s in values:
            _event(trace, time_ns, in_flight, TrackEvent.TYPE_COUNTER).counter_value = count
            _event(trace, time_ns, rate, TrackEvent.TYPE_COUNTER).double_counter_value = per_s
            if upto_ns is not None and time_ns >= upto_ns:
                break


def _event(trace: Trace, time_ns: int, uuid: int, kind: "TrackEvent.Type.ValueType") -> TrackEvent:
    packet = trace.packet.add(timestamp=time_ns, trusted_packet_sequence_id=_SEQUENCE)
    packet.timestamp_clock_id = BuiltinClock.BUILTIN_CLOCK_BOOTTIME
    event = packet.track_event
    event.type, event.track_uuid = kind, uuid
    return event
