"""`vio report` on recordings that are damaged, cut short, empty, of another version, or none at all.

What can be read is reported on, and what cannot be is named at its head.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.commandline import Vio, vio

from vio.errors import ExitCode
from vio.schema import EVENTS, LOSSES, MAJOR, MINOR, arrow_schema

__all__ = ["vio"]
BENCH = Path(__file__).parents[1] / "data" / "bench.vio"
SEGMENT = "events/segment-00000.parquet"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BENCH, tmp_path / "bench.vio"))


def refusal(vio: Vio, *words: str, code: int = ExitCode.RECORDING) -> str:
    ended, out, err = vio("report", *words)
    assert (ended, out) == (code, "")
    assert err.startswith("vio: ")
    assert err.count("\n") == 1
    return err


def told(vio: Vio, recording: Path) -> str:
    code, out, err = vio("report", str(recording))
    assert (code, err) == (0, "")
    return out


def edit_manifest(recording: Path, change: Callable[[dict[str, object]], None]) -> None:
    file = recording / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_the_recording_itself_is_whole(vio: Vio, recording: Path) -> None:
    out = told(vio, recording)
    assert "100.0% of 100 IOs" in out
    assert "LOST" not in out
    assert "ENDED" not in out


def test_a_segment_that_was_cut_short_is_a_loss(vio: Vio, recording: Path) -> None:
    segment = recording / SEGMENT
    segment.write_bytes(segment.read_bytes()[:50_000])
    out = told(vio, recording)
    assert out.startswith("LOST: 10,525 records.")
    assert SEGMENT in out
    assert "no IO was recorded" in out


@pytest.mark.parametrize("column", [column.name for column in EVENTS])
def test_a_segment_without_a_column_is_a_loss(vio: Vio, recording: Path, column: str) -> None:
    pq.write_table(pq.read_table(recording / SEGMENT).drop_columns([column]), recording / SEGMENT)
    assert told(vio, recording).startswith("LOST: 10,525 records.")


def test_a_segment_with_text_for_numbers_is_a_loss(vio: Vio, recording: Path) -> None:
    table = pq.read_table(recording / SEGMENT)
    table = table.set_column(table.column_names.index("offset"), "offset", table["offset"].cast(pa.string()))
    pq.write_table(table, recording / SEGMENT)
    assert told(vio, recording).startswith("LOST: 10,525 records.")


def test_a_segment_out_of_order_is_refused(vio: Vio, recording: Path) -> None:
    table = pq.read_table(recording / SEGMENT)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), recording / SEGMENT)
    assert "is damaged: its events are not in order of time: move it away" in refusal(vio, str(recording))


def test_points_that_the_manifest_does_not_name_are_passed_over(vio: Vio, recording: Path) -> None:
    table = pq.read_table(recording / SEGMENT)
    others = pa.array([200] * table.num_rows, pa.uint8())
    pq.write_table(table.set_column(table.column_names.index("point"), "point", others), recording / SEGMENT)
    assert "no IO was recorded" in told(vio, recording)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 1000])
@pytest.mark.parametrize("name", ["maps.parquet", "losses.parquet"])
def test_a_damaged_table_is_named(vio: Vio, recording: Path, name: str, content: bytes) -> None:
    (recording / name).write_bytes(content)
    assert f"{name} is damaged: " in refusal(vio, str(recording))


def test_without_maps_there_is_a_report(vio: Vio, recording: Path) -> None:
    (recording / "maps.parquet").unlink()
    assert "100.0% of 100 IOs" in told(vio, recording)


def test_maps_of_other_columns(vio: Vio, recording: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), recording / "maps.parquet")
    assert "maps lack the columns" in refusal(vio, str(recording))


def test_losses_of_another_type(vio: Vio, recording: Path) -> None:
    pq.write_table(pa.table({column.name: ["x"] for column in LOSSES}), recording / "losses.parquet")
    assert "losses.parquet is damaged" in refusal(vio, str(recording))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("clock"), "lacks clock"),
        (lambda m: m["clock"]["start"].update(wall_ns=2**70), "its clock shows a time that cannot be"),
        (lambda m: m["clock"]["stop"].update(boottime_ns=2**60), "by its clock it took more than 52 days"),
        (lambda m: m["points"][0].update(number=2**31), "points are numbered from 1 to 255"),
        (lambda m: m["points"][1].update(number=m["points"][0]["number"]), "points are numbered from 1 to 255"),
        (lambda m: m["points"][0].update(layer="attic"), "points[0].layer: 'attic' is not one of"),
        (lambda m: m["devices"][0].update(kernel_dev=2**40), "a device's number is more than 32 bits"),
        (lambda m: m["schema"].update(major=MAJOR + 1), f"this vio reads {MAJOR}.0 to {MAJOR}.{MINOR}: upgrade vio"),
        (
            lambda m: m["schema"].update(major=0, minor=7),
            f"schema 0.7, this vio reads {MAJOR}.0 to {MAJOR}.{MINOR}: use",
        ),
    ],
)
def test_manifests_that_cannot_be_believed(
    vio: Vio, recording: Path, change: Callable[[dict[str, object]], None], said: str
) -> None:
    edit_manifest(recording, change)
    assert said in refusal(vio, str(recording))


def test_a_manifest_nested_without_end(vio: Vio, recording: Path) -> None:
    (recording / "manifest.json").write_text("[" * 100_000)
    assert "manifest.json is damaged" in refusal(vio, str(recording))


def test_a_newer_minor_with_a_column_more_is_read(vio: Vio, recording: Path) -> None:
    edit_manifest(recording, lambda m: m["schema"].update(minor=MINOR + 1))  # type: ignore[attr-defined]
    table = pq.read_table(recording / SEGMENT)
    pq.write_table(table.append_column("more", pa.array([1] * table.num_rows)), recording / SEGMENT)
    assert "100.0% of 100 IOs" in told(vio, recording)


def test_a_recorder_that_was_killed(vio: Vio, recording: Path) -> None:
    def as_killed(manifest: dict[str, object]) -> None:
        manifest.update(state="running", end={"reason": "", "detail": ""}, segments=[])
        manifest["clock"].pop("stop")  # type: ignore[attr-defined]

    edit_manifest(recording, as_killed)
    (recording / "losses.parquet").unlink()
    (recording / "maps.parquet").unlink()
    out = told(vio, recording)
    assert out.startswith("ENDED: the recorder did not close it")
    assert "100.0% of 100 IOs" in out


def test_an_empty_recording(vio: Vio, recording: Path) -> None:
    pq.write_table(arrow_schema(EVENTS).empty_table(), recording / SEGMENT)
    assert "no IO was recorded" in told(vio, recording)
    (recording / SEGMENT).unlink()
    edit_manifest(recording, lambda m: m.update(segments=[]))
    assert "no IO was recorded" in told(vio, recording)
    code, out, _ = vio("report", str(recording), "--json")
    assert (code, json.loads(out)["io_count"]) == (0, 0)
    assert "has no IO 1" in refusal(vio, str(recording), "--io", "1", code=ExitCode.USAGE)


def test_an_io_that_is_not_there(vio: Vio, recording: Path) -> None:
    for number in ("100000", "-1"):
        err = refusal(vio, str(recording), "--io", number, code=ExitCode.USAGE)
        assert f"has no IO {number}: `vio report" in err


def test_a_disk_that_is_not_there(vio: Vio, recording: Path) -> None:
    err = refusal(vio, str(recording), "--disk", "vdz", code=ExitCode.USAGE)
    assert "the recording has no disk vdz: it has: disk.qcow2" in err


def test_what_is_no_recording(vio: Vio, recording: Path, tmp_path: Path) -> None:
    assert "is not a recording: it is no directory" in refusal(vio, str(recording / "log.txt"))
    assert "there is no recording" in refusal(vio, str(tmp_path / "none"))
    assert "File name too long" in refusal(vio, str(tmp_path / ("x" * 300)))
    (tmp_path / "empty").mkdir()
    assert "it has no manifest.json" in refusal(vio, str(tmp_path / "empty"))


def test_a_stretch_without_an_end_is_told_in_words(vio: Vio, recording: Path) -> None:
    code, out, _ = vio("report", str(recording), "--between", "0.72:")
    assert code == 0
    assert "begun after 0.72 s" in out
    code, out, _ = vio("report", str(recording), "--between", "0.72:", "--json")
    assert json.loads(out)["choice"]["between"] == {"from_s": 0.72, "to_s": None}
