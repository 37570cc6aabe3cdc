"""Inner parts on a real recording (tests/data/make_parts.py), and on one cut into small windows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.commandline import Vio, vio

from vio.errors import ExitCode
from vio.layer import Phase, Stage
from vio.recording import Recording
from vio.reporter.machine import to_json
from vio.reporter.parts import PartsReader
from vio.reporter.report import ReportOptions, report, timeline
from vio.reporter.result import Report
from vio.reporter.stagefigure import layer_pieces, opened_figure, part_pieces, spread
from vio.reporter.stream import Join
from vio.reporter.text import render_text
from vio.schema import time_column

PARTS = Path(__file__).parents[1] / "data" / "parts.vio"
BENCH = PARTS.parent / "bench.vio"
__all__ = ["vio"]
OPTIONS = ReportOptions(is_table_written=False, with_stages=True)
STAGES = tuple(Stage)


@pytest.fixture(scope="module")
def opened() -> Report:
    return report(PARTS, OPTIONS)


def joined_parts(path: Path) -> tuple[pa.Table, pa.Table]:
    recording = Recording.open(path)
    join = Join(recording, parts=PartsReader(recording.manifest.points))
    ios, stages = [], []
    for table, _ in join.windows():
        assert join.stages is not None
        ios.append(table)
        stages.append(join.stages)
    return pa.concat_tables(ios), pa.concat_tables(stages)


def test_the_parts_and_the_rest_add_up_to_the_layer_to_the_ns() -> None:
    ios, stages = joined_parts(PARTS)
    of, own, io = (stages[name].fill_null(0).to_numpy() for name in ("stage", "own_ns", "io"))
    assert (own >= 0).all()
    assert np.unique(of).size >= 4
    for number in np.unique(of).tolist():
        columns = [time_column(STAGES[number], phase) for phase in Phase]
        layer = sum(ios[name].fill_null(0).to_numpy() for name in columns)
        inner = np.bincount(io[of == number], weights=own[of == number], minlength=ios.num_rows)
        assert (inner <= layer).all()
        assert inner.sum() > 0 or STAGES[number] in {Stage.FS, Stage.LOOP_FS}


def test_the_outer_figures_do_not_change(opened: Report) -> None:
    closed = report(PARTS, ReportOptions(is_table_written=False))
    outer = to_json(closed)
    inner = to_json(opened)
    assert {key: outer[key] for key in ("layers", "latency", "ops", "slowest")} == {
        key: inner[key] for key in ("layers", "latency", "ops", "slowest")
    }
    assert opened.parts is not None
    for stage in opened.parts.stages:
        parts = sum(one.own.total_ns for one in opened.parts.parts_of(stage).values())
        assert parts + opened.parts.rest[stage].total_ns == opened.summary.stages[stage].total_ns


def test_small_windows_give_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = joined_parts(PARTS)
    monkeypatch.setattr("vio.reporter.stream.WINDOW", 1500)
    cut, cut_parts = joined_parts(PARTS)
    assert cut.num_rows == whole.num_rows

    def sums(ios: pa.Table, stages: pa.Table) -> dict[tuple[int, int, str], int]:
        begun = dict(
            zip(
                ios["io"].to_pylist(),
                zip(ios["begin_ns"].to_pylist(), ios["offset"].to_pylist(), strict=True),
                strict=True,
            )
        )
        found: dict[tuple[int, int, str], int] = {}
        for row in stages.to_pylist():
            key = (*begun[row["io"]], f"{row['stage']} {row['part']}")
            found[key] = found.get(key, 0) + (row["own_ns"] or 0)
        return found

    assert sums(whole, parts) == sums(cut, cut_parts)


def test_json_has_the_parts_under_their_layer(opened: Report) -> None:
    made = json.loads(json.dumps(to_json(opened)))
    vfs = next(stage for stage in made["stages"] if stage["stage"] == "vfs")
    assert [part["part"] for part in vfs["parts"]] == ["io_submit"]
    assert sum(part["total_ns"] for part in vfs["parts"]) + vfs["rest"]["total_ns"] == vfs["total_ns"]
    assert {"count", "p50_ns", "p90_ns", "p99_ns", "max_ns", "mean_ns", "layer_share"} <= set(vfs["parts"][0])
    fs = next(stage for stage in made["stages"] if stage["stage"] == "fs")
    assert {part["part"]: part["is_mark"] for part in fs["parts"]} == {"log_wait": False, "mapped": True}


def test_the_text_has_the_parts_and_the_way_from_point_to_point(opened: Report) -> None:
    text = render_text(opened)
    assert "qemu-aio opened (us)" in text
    assert "rest of qemu-block" in text
    assert "fs mapped" in text
    lines = [line.split() for line in text.splitlines()]
    heads = [line for line in lines if line[:5] == ["us", "from", "point", "to", "point"]]
    assert heads[0][5] == "#0-#1"
    assert [line[0] for line in lines if line and line[0] in {"cnt", "avg", "min", "max"}][:4] == [
        "cnt",
        "avg",
        "min",
        "max",
    ]
    assert any(line[0].startswith("0x") and len(line) == len(heads[0]) - 4 for line in lines if line)


def test_hops_add_up_to_the_time_from_the_first_point_to_the_last(opened: Report) -> None:
    assert opened.parts is not None
    hops = opened.parts.hops
    assert "fs mapped" in hops.points
    assert hops.rows[0].device_offset is not None
    whole = [row for row in hops.rows if min(row.hops_ns) >= 0]
    assert whole
    assert all(sum(row.hops_ns) > 0 for row in whole)
    assert (hops.least_ns[hops.count > 0] <= hops.most_ns[hops.count > 0]).all()


def test_the_way_may_be_between_chosen_points(vio: Vio) -> None:
    found = report(PARTS, replace(OPTIONS, way=("vfs_begin", "vfs io_submit end", "rq_issue"))).parts
    assert found is not None
    assert found.hops.points == ("vfs_begin", "vfs io_submit end", "rq_issue")
    assert {len(row.hops_ns) for row in found.hops.rows} == {2}
    code, _, err = vio("report", str(PARTS), "--way", "vfs_begin, fs attic")
    assert code == ExitCode.USAGE
    assert "--way: no IO passed a point fs attic: they passed aio_end, " in err


def test_labels_are_moved_apart_as_little_as_it_takes() -> None:
    assert spread([90.0, 50.0, 10.0], 100.0, 4.0) == [90.0, 50.0, 10.0]
    assert spread([51.0, 50.0, 49.0], 100.0, 4.0) == [51.0, 47.0, 43.0]
    assert spread([3.0, 2.0, 1.0], 100.0, 4.0) == [10.0, 6.0, 2.0]
    assert spread([], 100.0, 4.0) == []


def test_the_timeline_hangs_parts_below_their_layer() -> None:
    lines = timeline(PARTS, 40).splitlines()
    at = next(number for number, line in enumerate(lines) if "io_submit" in line)
    depth = lines[at].index("io_submit")
    above = next(line for line in reversed(lines[:at]) if "- vfs" in line)
    assert above.index("vfs") == depth - 3


def test_the_picture_has_the_layers_and_the_parts(opened: Report) -> None:
    assert opened.parts is not None
    pieces = layer_pieces(opened)
    assert sum(piece.mean_ns for piece in pieces) == pytest.approx(opened.summary.total().latency.mean_ns)
    own = next(piece.mean_ns for piece in pieces if piece.label == "qemu-aio")
    parts = part_pieces(opened, opened.parts, Stage.QEMU_AIO)
    assert sum(piece.mean_ns for piece in parts) == pytest.approx(own)
    axes = opened_figure(opened, opened.parts).axes
    assert axes[0].get_title(loc="left") == "the mean IO, by layer"
    assert "vfs opened" in {one.get_title(loc="left") for one in axes}


def test_the_table_is_beside_the_recording(vio: Vio, tmp_path: Path) -> None:
    place = tmp_path / "x.vio"
    place.mkdir()
    for path in PARTS.rglob("*.*"):
        if path.is_file():
            target = place / path.relative_to(PARTS)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    code, out, err = vio("report", str(place), "--stages", "--op", "write")
    assert code == 0, err
    assert "every span of a part" in out
    table = pq.read_table(place / "stages.parquet")
    assert table.column_names == ["io", "stage", "part", "begin_ns", "end_ns", "tid", "own_ns"]
    assert "thread_pool_submit_aio" in set(table["part"].to_pylist())


def test_a_recording_without_inner_points_says_how_to_have_some(vio: Vio) -> None:
    code, _, err = vio("report", str(BENCH), "--stages")
    assert code == ExitCode.USAGE
    assert "has no inner points: open a layer when recording: vio record --open fs" in err
