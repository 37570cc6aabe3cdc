"""A recording is written in closed pieces and read back; damage costs only the damaged piece."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vio.errors import OutputError, RecordingError
from vio.layer import Layer
from vio.losses import Loss, LossKind, losses_table
from vio.manifest import (
    Clock,
    Creator,
    End,
    EndReason,
    HostInfo,
    Manifest,
    Moment,
    PointInfo,
    SchemaVersion,
    State,
    TargetInfo,
)
from vio.recorder.files import check_directory, make_directory, write_manifest, write_table
from vio.recorder.generate import Chosen
from vio.recorder.probe import Point, Way
from vio.recorder.rows import Rows, decode, scaling_of
from vio.recorder.writer import SegmentWriter
from vio.recording import LOSSES_FILE, Recording
from vio.schema import EVENTS, MAJOR, MINOR

WAY = Way("tracepoint:block:block_bio_queue", "", ("emit(0, 0, 0, 0, 0, 0)",), 1)
SECTORS = "flags=op space=dev bytes offset=device"


def a_point(number: int, fields: str = SECTORS, unit: int = 512) -> Chosen:
    return Chosen(number, Point(f"p{number}", "a point", Layer.BLOCK, "mark", (WAY,), "x.bt", fields, unit), WAY)


def some_rows(times: list[int], point: int = 1, owner: int = 0) -> Rows:
    count = len(times)
    header = np.full(count, 42 << 32 | 2 << 8 | point, np.uint64)
    extent = np.full(count, 7 << 32 | 8, np.uint64)
    words = np.array(times, np.uint64)
    return Rows(words.view(np.int64), header, extent, words, words, np.full(count, owner, np.uint32))


def a_manifest(state: State = State.RUNNING) -> Manifest:
    return Manifest(
        schema=SchemaVersion(MAJOR, MINOR),
        creator=Creator("vio", "0"),
        state=state,
        host=HostInfo("h", "6.1", "x86_64", 2),
        clock=Clock(Moment(1, 10**18), Moment(999, 10**18 + 998) if state is not State.RUNNING else None),
        target=TargetInfo(1, "system", "vm", "/usr/bin/qemu", "7.2", threads={"1": "main"}),
        points=(PointInfo(1, "p1", Layer.BLOCK, "mark", "a point", "bytes", "tracepoint:x:y", cost_ns=340),),
        end=End(EndReason.STOPPED, "by SIGINT"),
    )


def a_recording(
    path: Path, *segments: list[int], pending: list[int] | None = None, state: State = State.RUNNING
) -> Path:
    make_directory(path, force=False)
    writer = SegmentWriter(path, scaling_of([a_point(1)]))
    for times in segments:
        writer.put([some_rows(times)])
    if pending is not None:
        writer.put_pending(some_rows(pending))
    writer.flush()
    writer.close()
    write_manifest(path, replace(a_manifest(state), segments=tuple(writer.segments)), is_durable=False)
    if state is not State.RUNNING:
        write_table(path / LOSSES_FILE, losses_table([]))
    return path


def times_of(recording: Recording) -> list[list[int]]:
    return [table["ts_ns"].to_pylist() for table in recording.tables(["ts_ns"])]


def test_events_have_the_columns_of_the_schema() -> None:
    table = decode(some_rows([10, 11], owner=7), scaling_of([a_point(1)]))
    assert table.column_names == [column.name for column in EVENTS]
    assert table.slice(0, 1).to_pylist() == [
        {"ts_ns": 10, "point": 1, "flags": 2, "tid": 7, "space": 7, "bytes": 4096, "offset": 5120, "key": 10, "aux": 42}
    ]


def test_a_tracepoints_thread_is_in_the_high_half() -> None:
    row = decode(some_rows([10]), scaling_of([])).to_pylist()[0]
    assert (row["tid"], row["aux"], row["bytes"], row["offset"]) == (42, 0, 8, 10)


def test_a_device_number_in_bytes_is_not_scaled_and_no_address_stays_none() -> None:
    remap = a_point(1, fields="flags=op space=dev bytes=old-dev offset=device key=old-sector")
    rows = some_rows([10])
    rows = replace(rows, offset=np.full(1, 2**64 - 1, np.uint64))
    row = decode(rows, scaling_of([remap])).to_pylist()[0]
    assert (row["bytes"], row["offset"], row["key"]) == (8, -1, 10)


def test_segments_are_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    recording = Recording.open(a_recording(tmp_path / "r", [1, 2, 5], [3, 6, 9]))
    assert [(s.rows, s.first_ns, s.last_ns) for s in recording.segments()] == [(3, 1, 5), (2, 6, 9)]
    assert [s.rows for s in recording.late_segments()] == [1]
    assert times_of(recording) == [[1, 2, 3, 5], [6, 9]]
    assert recording.rows == 6


def test_pending_events_count_only_without_an_end_and_only_once(tmp_path: Path) -> None:
    running = Recording.open(a_recording(tmp_path / "a", [1, 5], pending=[5, 4, 8]))
    assert times_of(running) == [[1, 4, 5], [8]]
    closed = Recording.open(a_recording(tmp_path / "b", [1, 5], pending=[4, 8], state=State.COMPLETE))
    assert times_of(closed) == [[1, 5]]


def test_an_empty_recording_is_a_recording(tmp_path: Path) -> None:
    recording = Recording.open(a_recording(tmp_path / "r", state=State.COMPLETE))
    assert times_of(recording) == []
    assert recording.read_losses() == []


def test_the_manifest_survives_the_way_through_json(tmp_path: Path) -> None:
    make_directory(tmp_path / "r", force=False)
    manifest = a_manifest(State.COMPLETE)
    write_manifest(tmp_path / "r", manifest, is_durable=True)
    assert Recording.open(tmp_path / "r").manifest == manifest


def test_a_newer_major_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1])
    _edit(path, schema={"major": MAJOR + 1, "minor": 3})
    with pytest.raises(RecordingError, match=rf"schema {MAJOR + 1}\.3, this vio reads {MAJOR}\.0 to {MAJOR}\.{MINOR}"):
        Recording.open(path)


def test_a_newer_minor_is_read(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1])
    _edit(path, schema={"major": MAJOR, "minor": MINOR + 7}, something_new=[1])
    assert Recording.open(path).manifest.schema.minor == MINOR + 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "flying"}, r"manifest\.json\.state: 'flying' is not one of running"),
        ({"clock": {}}, r"manifest\.json\.clock lacks start"),
        ({"points": [{"number": "one"}]}, r"points\[0\]\.number: a whole number is needed"),
        ({"host": 3}, r"host: an object is needed, not '3'"),
        ({"schema": None}, "names no schema version"),
    ],
)
def test_a_manifest_that_cannot_be_believed_says_where(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = a_recording(tmp_path / "r", [1])
    _edit(path, **change)
    with pytest.raises(RecordingError, match=message):
        Recording.open(path)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="there is no recording"):
        Recording.open(tmp_path / "absent")
    with pytest.raises(RecordingError, match=r"no manifest\.json"):
        Recording.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": ')
    with pytest.raises(RecordingError, match="is damaged"):
        Recording.open(tmp_path)


def test_a_damaged_segment_is_a_loss_and_the_others_are_read(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1, 2], [5, 6], [8, 9], state=State.COMPLETE)
    last = path / "events" / "segment-00002.parquet"
    last.write_bytes(last.read_bytes()[:-9])
    (path / "events" / "segment-00000.parquet").unlink()
    recording = Recording.open(path)
    assert times_of(recording) == [[5, 6]]
    assert {(loss.kind, loss.where, loss.records) for loss in recording.read_losses()} == {
        (LossKind.SEGMENT, "events/segment-00000.parquet", 2),
        (LossKind.SEGMENT, "events/segment-00002.parquet", 2),
    }


def test_a_segment_that_the_manifest_does_not_know_yet_is_read(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1, 2], [5, 6])
    _edit(path, segments=[])
    (path / "events" / "segment-00002.parquet.tmp").write_bytes(b"half of one")
    (path / "events" / "segment-00003.parquet").write_bytes(b"")
    recording = Recording.open(path)
    assert times_of(recording) == [[1, 2], [5, 6]]
    assert recording.read_losses() == [Loss(LossKind.SEGMENT, "events/segment-00003.parquet", -1, 6, 6)]


def test_missing_losses_of_a_closed_recording_are_an_error(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1], state=State.COMPLETE)
    (path / LOSSES_FILE).unlink()
    with pytest.raises(RecordingError, match=r"losses\.parquet is missing"):
        Recording.open(path).read_losses()


def test_force_overwrites_a_recording_and_nothing_else(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "r", [1], [2])
    with pytest.raises(OutputError, match="exists: give --force"):
        make_directory(path, force=False)
    make_directory(path, force=True)
    assert [entry.name for entry in path.iterdir()] == ["events"]
    assert list((path / "events").iterdir()) == []
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    for refused in (make_directory, check_directory):
        with pytest.raises(OutputError, match="no recording"):
            refused(other, force=True)
    assert (other / "thesis.txt").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("x")
    with pytest.raises(OutputError, match="is no recording"):
        make_directory(tmp_path / "r", force=True)


def _edit(path: Path, **change: object) -> None:
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
