"""Exports: read back with the readers of their formats, and compared with the SQL over the same recording."""

import csv
import io
import json
import shutil
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import BuiltinClock, Trace, TrackEvent
from tests.commandline import Vio, vio
from tests.samples import without_a_guest

import vio as package
from vio.layer import Op
from vio.reporter.choice import Filter
from vio.reporter.export.chosen import ChosenIos
from vio.reporter.export.lanes import Lanes
from vio.reporter.export.perfetto import write_perfetto
from vio.reporter.report import ReportOptions, report

__all__ = ["vio"]
SAMPLE = Path(__file__).parents[2] / "reporter" / "sample" / "demo.vio"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("export") / "demo.vio"
    shutil.copytree(SAMPLE, copy)
    report(copy, ReportOptions())
    return copy


def read_trace(path: Path) -> Trace:
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    return trace


def tracks_of(trace: Trace) -> dict[int, Any]:
    return {one.track_descriptor.uuid: one.track_descriptor for one in trace.packet if one.HasField("track_descriptor")}


def slices_of(trace: Trace) -> list[tuple[str, str, str, int, int, dict[str, Any]]]:
    """Return disk, stage, name, begin, end and annotations of each slice; fail where slices of a track overlap."""
    tracks = tracks_of(trace)
    opened: dict[int, tuple[int, Any]] = {}
    found = []
    events = [packet for packet in trace.packet if packet.HasField("track_event")]
    for packet in sorted(events, key=lambda packet: int(packet.timestamp)):
        event, track = packet.track_event, tracks[packet.track_event.track_uuid]
        assert packet.timestamp_clock_id == BuiltinClock.BUILTIN_CLOCK_BOOTTIME
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert track.uuid not in opened, "two slices of one track overlap"
            opened[track.uuid] = packet.timestamp, event
        elif event.type == TrackEvent.TYPE_SLICE_END:
            begin_ns, begin = opened.pop(track.uuid)
            notes = {one.name: one.string_value or one.int_value for one in begin.debug_annotations}
            disk = tracks[track.parent_uuid].name
            found.append((disk, track.name, begin.name, begin_ns, packet.timestamp, notes))
    assert not opened
    return found


def test_a_trace_has_a_slice_for_each_span(vio: Vio, sample: Path, tmp_path: Path) -> None:
    file = tmp_path / "demo.pftrace"
    code, out, _ = vio("export", "perfetto", str(sample), "-o", str(file))
    assert code == 0
    assert out.startswith(f"{file}: 1,054 IOs, 9,914 spans")
    slices = slices_of(read_trace(file))
    with package.open(sample) as recording:
        spans = recording.sql("select disk, stage, op, begin_ns, end_ns, io from spans")
    expected = Counter(map(tuple, spans.itertuples(index=False)))
    assert Counter((*one[:5], one[5].get("io", 0)) for one in slices) == expected


def test_flows_tie_the_spans_of_an_io(sample: Path, tmp_path: Path) -> None:
    write_perfetto(ChosenIos.of(sample, Filter()), tmp_path / "x")
    flows: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for packet in read_trace(tmp_path / "x").packet:
        for is_last, ids in ((False, packet.track_event.flow_ids), (True, packet.track_event.terminating_flow_ids)):
            for flow in ids:
                flows[flow].append((packet.timestamp, is_last))
    with package.open(sample) as recording:
        counts = recording.sql("select io, count(*) as n from spans group by io having n > 1")
    assert {io + 1: n for io, n in zip(counts["io"], counts["n"], strict=True)} == {
        flow: len(found) for flow, found in flows.items()
    }
    assert all([is_last for _, is_last in found].count(True) == 1 for found in flows.values())


def test_counters_count(sample: Path, tmp_path: Path) -> None:
    write_perfetto(ChosenIos.of(sample, Filter()), tmp_path / "x")
    trace = read_trace(tmp_path / "x")
    tracks = tracks_of(trace)
    values: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for packet in trace.packet:
        event = packet.track_event
        if event.type == TrackEvent.TYPE_COUNTER:
            values[tracks[event.track_uuid].name].append(
                (packet.timestamp, event.counter_value or event.double_counter_value)
            )
    with package.open(sample) as recording:
        for time_ns, in_flight in values["in flight"][:: len(values["in flight"]) // 20]:
            query = f"select count(*) as n from ios where begin_ns < {time_ns} and begin_ns + latency_ns >= {time_ns}"
            assert recording.sql(query)["n"][0] == in_flight
    assert values["in flight"][-1][1] == 0
    rates = values["IOPS"]
    ended = [rate * (after - at) / 1e9 for (at, rate), (after, _) in pairwise(rates)]
    assert sum(ended) == pytest.approx(1054)


def test_the_clock_is_tied_to_the_time_of_day(sample: Path, tmp_path: Path) -> None:
    write_perfetto(ChosenIos.of(sample, Filter()), tmp_path / "x")
    snapshots = [one.clock_snapshot for one in read_trace(tmp_path / "x").packet if one.HasField("clock_snapshot")]
    start = json.loads((sample / "manifest.json").read_text())["clock"]["start"]
    assert {one.clock_id: one.timestamp for one in snapshots[0].clocks} == {
        BuiltinClock.BUILTIN_CLOCK_BOOTTIME: start["boottime_ns"],
        BuiltinClock.BUILTIN_CLOCK_REALTIME: start["wall_ns"],
    }


def test_a_long_trace_is_in_pieces_each_whole(tmp_path: Path) -> None:
    copy = tmp_path / "long.vio"
    from lab.synthesize import repeat_recording

    repeat_recording(SAMPLE, copy, 4)
    done = write_perfetto(ChosenIos.of(copy, Filter()), tmp_path / "x.pftrace", piece_bytes=1 << 20)
    assert [file.name for file in done.files] == ["x-000.pftrace", "x-001.pftrace"]
    assert sum(file.stat().st_size for file in done.files) == done.bytes
    pieces = [slices_of(read_trace(file)) for file in done.files]
    ios = [{one[5].get("io", 0) for one in piece} for piece in pieces]
    assert sum(map(len, pieces)) == done.spans == 39_656
    assert sum(map(len, ios)) == len(set.union(*ios)) == done.ios == 4216
    assert not list(tmp_path.glob(".*"))


def test_ios_are_chosen(vio: Vio, sample: Path, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    words = ("--op", "write", "--between", "1s:2s", "--disk", "virtio0")
    assert vio("export", "csv", str(sample), "-o", str(file), *words)[0] == 0
    with package.open(sample) as recording:
        expected = recording.ios("op = 'write' and begin_s >= 1 and begin_s < 2")
    assert [int(row["io"]) for row in csv.DictReader(io.StringIO(file.read_text()))] == sorted(expected["io"])


@pytest.mark.parametrize(("form", "of_report"), [("csv", "csv"), ("jsonl", "json")])
def test_tables_are_those_of_the_report(vio: Vio, sample: Path, tmp_path: Path, form: str, of_report: str) -> None:
    exported, reported = tmp_path / "exported", tmp_path / "reported"
    assert vio("export", form, str(sample), "-o", str(exported))[0] == 0
    assert vio("report", str(sample), "--format", of_report, "--output", str(reported))[0] == 0
    assert exported.read_bytes() == reported.read_bytes()


def test_opentelemetry_has_a_trace_for_each_io(vio: Vio, sample: Path, tmp_path: Path) -> None:
    file = tmp_path / "demo.otlp.jsonl"
    assert vio("export", "otlp", str(sample), "-o", str(file), "--op", "write")[0] == 0
    spans = [
        span
        for line in file.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    by_id = {(span["traceId"], span["spanId"]): span for span in spans}
    assert len(by_id) == len(spans)
    roots = [span for span in spans if "parentSpanId" not in span]
    for span in spans:
        assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        if "parentSpanId" in span:
            assert (span["traceId"], span["parentSpanId"]) in by_id
    with package.open(sample) as recording:
        latencies = recording.sql("select latency_ns from ios where op = 'write' order by 1")["latency_ns"].tolist()
        count = recording.sql("select count(*) as n from spans where op = 'write'")["n"][0]
    times = sorted(int(one["endTimeUnixNano"]) - int(one["startTimeUnixNano"]) for one in roots)
    assert times == latencies
    assert len(spans) == count + len(roots)


def test_ios_without_an_end_stay_open(tmp_path: Path) -> None:
    copy = without_a_guest(tmp_path / "demo.vio", lost_end=10)
    with package.open(copy) as recording:
        unended = recording.sql("select count(*) as n from spans where end_ns is null")["n"][0]
    done = write_perfetto(ChosenIos.of(copy, Filter()), tmp_path / "x")
    kinds = Counter(one.track_event.type for one in read_trace(tmp_path / "x").packet if one.HasField("track_event"))
    assert kinds[TrackEvent.TYPE_SLICE_BEGIN] == done.spans
    assert kinds[TrackEvent.TYPE_SLICE_BEGIN] - kinds[TrackEvent.TYPE_SLICE_END] == unended > 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nonsense", "{sample}", "-o", "{tmp}/x"), 2, "nonsense is no format"),
        (("csv", "{sample}", "-o", "{tmp}/none/x"), 6, "cannot be written"),
        (("perfetto", "{sample}", "-o", "{tmp}/none/x"), 6, "cannot be written"),
        (("otlp", "{sample}", "-o", "{tmp}/x", "--disk", "sda"), 2, "no disk sda"),
        (("otlp", "{tmp}", "-o", "{tmp}/x"), 5, "is not a recording"),
    ],
)
def test_what_is_wrong_is_one_line(
    vio: Vio, sample: Path, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    found, out, err = vio("export", *(word.format(sample=sample, tmp=tmp_path) for word in words))
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert says in err
    assert not list(tmp_path.iterdir())


def test_lanes_never_overlap() -> None:
    lanes = Lanes()
    assert [lanes.take(0, 10), lanes.take(5, 7), lanes.take(7, 9), lanes.take(8, None), lanes.take(10, 11)] == [
        0,
        1,
        1,
        2,
        1,
    ]
    assert lanes.count == 3


def test_no_operation_is_lost_in_json(vio: Vio, sample: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    vio("export", "jsonl", str(sample), "-o", str(file))
    ops = Counter(json.loads(line)["op"] for line in io.StringIO(file.read_text()))
    assert set(ops) <= set(Op)
    assert ops.total() == 1054
