"""Inner points put into a real recording, where they would be: around each direct IO, and elsewhere at its end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.layer import Phase, Stage
from vio.recording import Recording
from vio.reporter.parts import PartsReader
from vio.reporter.stream import Join
from vio.schema import EVENTS, arrow_schema, time_column

BENCH = Path(__file__).parents[1] / "data" / "bench.vio"
WORKER = 77  # the thread of the ends
BEFORE, LOCK, UNLOCK, AFTER = -300, -250, -100, 40
POINTS = {
    "in_write": (200, "begin", "file_write", "thread", "key=iocb"),
    "in_write_end": (201, "end", "file_write", "thread", ""),
    "in_lock": (202, "begin", "rw_lock", "thread", ""),
    "in_lock_end": (203, "end", "rw_lock", "thread", ""),
    "in_hold": (204, "begin", "rw_hold", "key", "key=iocb"),
    "in_hold_end": (205, "end", "rw_hold", "key", "key=iocb"),
    "in_done": (206, "begin", "end_io", "thread", "key=iocb"),
    "in_done_end": (207, "end", "end_io", "thread", ""),
    "in_note": (208, "mark", "note", "thread", "key=inode"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, pa.Table]:
    place = Path(shutil.copytree(BENCH, tmp_path_factory.mktemp("made") / "made.vio"))
    manifest = json.loads((place / "manifest.json").read_text())
    numbers = {point["name"]: point["number"] for point in manifest["points"]}
    for name, (number, role, part, join, fields) in POINTS.items():
        added = {"number": number, "name": name, "layer": "fs", "role": role, "meaning": "", "fields": fields}
        manifest["points"].append(added | {"attach": "kprobe:x", "part": part, "join": join})
    manifest["segments"] = []
    (place / "manifest.json").write_text(json.dumps(manifest))
    events = pa.concat_tables(list(Recording.open(BENCH).tables())).to_pylist()
    mine = manifest["target"]["pid"]
    threads = {int(tid) for tid in manifest["target"]["threads"]} | {mine}
    for path in (place / "events").iterdir():
        path.unlink()
    begun = [row for row in events if row["point"] == numbers["dio"] and row["tid"] in threads]
    ended: dict[tuple[int, int, int], list[int]] = {}
    for row in events:
        if row["point"] == numbers["dio_end"]:
            ended.setdefault((row["space"], row["key"], row["offset"] - row["bytes"]), []).append(row["ts_ns"])
    empty = dict.fromkeys((column.name for column in EVENTS), 0)
    for number, row in enumerate(begun):
        # a kiocb is used again by later IOs
        iocb, at = 0xFFFF888000000000 + 64 * (number % 16), row["ts_ns"]
        end = next(ts for ts in ended[row["space"], row["key"], row["offset"]] if ts > at)
        for name, ts, tid, key in (
            ("in_write", at + BEFORE, row["tid"], iocb),
            ("in_lock", at + LOCK, row["tid"], 0),
            ("in_lock_end", at + UNLOCK, row["tid"], 0),
            ("in_hold", at + UNLOCK, row["tid"], iocb),
            ("in_write_end", at + AFTER, row["tid"], 0),
            ("in_done", end - 900, WORKER + number % 3, iocb),
            ("in_hold_end", end - 500, WORKER + number % 3, iocb),
            ("in_done_end", end - 400, WORKER + number % 3, 0),
            ("in_note", end - 450, 5, row["key"]),
        ):
            events.append(empty | {"point": POINTS[name][0], "ts_ns": ts, "tid": tid, "key": key})
    events.sort(key=lambda row: row["ts_ns"])
    pq.write_table(pa.Table.from_pylist(events, arrow_schema(EVENTS)), place / "events" / "segment-00000.parquet")
    recording = Recording.open(place)
    joining = Join(recording, parts=PartsReader(recording.manifest.points))
    ios = pa.concat_tables(table for table, _ in joining.windows())
    assert joining.stages is not None
    assert joining.quality.orphans["spans of fs's note"] == len(begun)
    return ios, joining.stages


def test_each_io_has_its_own_parts_and_no_others(made: tuple[pa.Table, pa.Table]) -> None:
    ios, stages = made
    frame = stages.to_pandas()
    frame = frame[frame["stage"] == list(Stage).index(Stage.FS)]
    checked = 0
    for io in ios.to_pylist():
        mine = frame[frame["io"] == io["io"]].set_index("part")
        if io["op"] != 1 or io["t_fs_begin_ns"] is None or mine.empty:
            continue
        begin, end = io["t_fs_begin_ns"], io["t_fs_end_ns"]
        if int((frame["io"] == io["io"]).sum()) != 4:
            continue  # more than one direct IO: its table was written too
        checked += 1
        assert mine.loc["file_write", ["begin_ns", "end_ns"]].tolist() == [begin + BEFORE, begin + AFTER]
        assert mine.loc["rw_lock", ["begin_ns", "end_ns"]].tolist() == [begin + LOCK, begin + UNLOCK]
        assert mine.loc["rw_hold", ["begin_ns", "end_ns"]].tolist() == [begin + UNLOCK, end - 500]
        assert mine.loc["end_io", ["begin_ns", "end_ns"]].tolist() == [end - 900, end - 400]
    assert checked > 80
    assert set(frame["part"]) == {"file_write", "rw_lock", "rw_hold", "end_io"}


def test_the_time_before_the_layer_is_not_its_parts(made: tuple[pa.Table, pa.Table]) -> None:
    ios, stages = made
    own = stages.to_pandas().groupby(["io", "part"])["own_ns"].sum()
    # the lock is given before the file system's span begins: the time is the system call's
    assert own.xs("rw_lock", level="part").sum() == 0
    assert own.xs("file_write", level="part").max() <= AFTER
    layer = np.sum([ios[time_column(Stage.FS, phase)].fill_null(0).to_numpy() for phase in Phase], axis=0)
    inner = own.groupby("io").sum()
    assert (inner.to_numpy() <= layer[np.searchsorted(ios["io"].to_numpy(), inner.index.to_numpy())]).all()
