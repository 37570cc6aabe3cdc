import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.builders import START_NS, a_recorded, a_stream, an_io_table

from vio.errors import OutputError, UsageError
from vio.layer import Layer, Op, Stage
from vio.losses import Loss
from vio.printable import printable
from vio.reporter.choice import Filter
from vio.reporter.machine import to_json
from vio.reporter.progress import Progress
from vio.reporter.recorded import Recorded, stretches
from vio.reporter.report import ReportOptions, report_on
from vio.reporter.table import TableFormat
from vio.reporter.text import render_text
from vio.reporter.units import bytes_text, share_text, time_text


def recorded_at(path: Path) -> Recorded:
    one = a_recorded(disks=2)
    return Recorded(str(path), one.manifest, one.losses, one.last_ns)


def test_the_table_beside_the_recording_has_every_io(tmp_path: Path) -> None:
    parts = [an_io_table(100), an_io_table(50, seed=1, first_io=100)]
    options = ReportOptions(Filter((Op.READ,)))

    result = report_on(recorded_at(tmp_path), a_stream(parts), options)

    assert result.table_path == tmp_path / "ios.parquet"
    assert pq.read_table(tmp_path / "ios.parquet").num_rows == 150
    assert list(result.summary.by_op()) == [Op.READ]


def test_a_table_that_was_named_has_the_chosen_ios(tmp_path: Path) -> None:
    path = tmp_path / "reads.json"
    options = ReportOptions(Filter((Op.READ,)), table_path=path, table_format=TableFormat.JSON)

    result = report_on(recorded_at(tmp_path), a_stream([an_io_table(100)]), options)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == result.summary.total().io_count
    assert {json.loads(line)["op"] for line in lines} == {"read"}


def test_a_recording_that_cannot_be_written_to_is_reported_all_the_same(tmp_path: Path) -> None:
    recorded = recorded_at(tmp_path / "gone")

    result = report_on(recorded, a_stream([an_io_table(100)]), ReportOptions())

    assert result.table_path is None
    assert "not written" in render_text(result)
    assert result.summary.total().io_count == 100


def test_a_named_table_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    options = ReportOptions(table_path=tmp_path / "gone" / "x.parquet")

    with pytest.raises(OutputError, match="cannot be written"):
        report_on(recorded_at(tmp_path), a_stream([an_io_table(100)]), options)


@pytest.mark.parametrize("name", ["gone/x.png", "x.nonsense"])
def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    options = ReportOptions(plot_path=tmp_path / name, is_table_written=False)

    with pytest.raises(OutputError, match="cannot be written"):
        report_on(recorded_at(tmp_path), a_stream([an_io_table(100)]), options)


def test_no_io_is_no_fault(tmp_path: Path) -> None:
    options = ReportOptions(plot_path=tmp_path / "x.png")

    result = report_on(recorded_at(tmp_path), a_stream([]), options)

    assert "no IO was recorded" in render_text(result)
    assert to_json(result)["io_count"] == 0
    assert json.dumps(to_json(result), allow_nan=False)
    assert pq.read_table(tmp_path / "ios.parquet").num_rows == 0


def test_ios_that_never_ended_can_be_reported(tmp_path: Path) -> None:
    result = report_on(recorded_at(tmp_path), a_stream([an_io_table(5, unended=5)]), ReportOptions())

    assert "no end seen: 5 (in flight at the end, or hung); the oldest, IO 0, for 10.0 s" in render_text(result)
    assert to_json(result)["ended_io_count"] == 0
    assert json.dumps(to_json(result), allow_nan=False)


def test_a_negative_number_of_slowest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        report_on(recorded_at(tmp_path), a_stream([]), ReportOptions(slowest=-1))


def test_progress_is_told_after_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr("vio.reporter.progress._QUIET_S", 0.0)
    late = an_io_table(10, begin_ns=START_NS + 5_000_000_000)

    report_on(recorded_at(tmp_path), a_stream([late]), ReportOptions(is_table_written=False), told.append)

    assert told[0].io_count == 10
    assert told[0].share == pytest.approx(0.5, abs=0.01)


def test_shares_of_the_json_add_up_to_one(tmp_path: Path) -> None:
    result = report_on(recorded_at(tmp_path), a_stream([an_io_table(500, disks=2)]), ReportOptions())

    found = json.loads(json.dumps(to_json(result)))
    whole = sum(layer["time_share"] for layer in found["layers"]) + found["unattributed_share"]
    assert whole == pytest.approx(1.0)
    assert sum(op["io_count"] for op in found["ops"]) == found["io_count"] == 500
    assert sum(disk["bytes"] for disk in found["disks"]) == found["bytes"]


def test_what_was_not_recorded_is_not_called_not_reached(tmp_path: Path) -> None:
    stages = (Stage.QEMU_DEVICE, Stage.QEMU_BLOCK)
    recorded = a_recorded(stages=stages)
    assert recorded.layers == {Layer.QEMU_DEVICE, Layer.QEMU_BLOCK}
    result = report_on(recorded, a_stream([an_io_table(50, stages=stages)]), ReportOptions(is_table_written=False))

    text = render_text(result)
    assert "not recorded: fs had no point; its time is in the layer above" in text
    assert "not reached by some of the 50 IOs: qemu-block" in text


def test_losses_of_one_stretch_are_told_as_one() -> None:
    second = 1_000_000_000
    losses = [Loss("buffer", "a", 5, 0, second), Loss("buffer", "a", 7, second, 2 * second)]
    losses += [Loss("buffer", "a", -1, 9 * second, 10 * second), Loss("missed", "a", 1, 0, second)]

    assert stretches(losses) == [
        Loss("buffer", "a", 12, 0, 2 * second),
        Loss("missed", "a", 1, 0, second),
        Loss("buffer", "a", -1, 9 * second, 10 * second),
    ]


def test_units() -> None:
    assert [time_text(ns) for ns in (0, 999, 1_500, 151_700, 13_000_000, 4e9)] == [
        "0 ns",
        "999 ns",
        "1.50 us",
        "151.7 us",
        "13.0 ms",
        "4.00 s",
    ]
    assert [bytes_text(size) for size in (0, 1023, 4096, 3 << 30)] == ["0 B", "1023 B", "4.0 KiB", "3.0 GiB"]
    assert [share_text(s) for s in (0.0, 0.0001, 0.5, 0.99996, 1.0)] == ["0.0%", "<0.1%", "50.0%", ">99.9%", "100.0%"]
    assert printable("a\x1b[31m") == "a\\x1b[31m"
