import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lab.demo import SAMPLE

from vio.reporter.iofile import io_tables, ios_file
from vio.reporter.report import ReportOptions, report


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    copy = tmp_path / "copy.vio"
    shutil.copytree(SAMPLE, copy)
    return copy


def test_the_table_is_made_once(recording: Path) -> None:
    made = ios_file(recording)
    assert made is not None
    before = made.stat()
    assert ios_file(recording) == made
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert report(recording, ReportOptions()).summary.total().io_count == pq.read_metadata(made).num_rows


def test_a_recording_that_has_changed_is_joined_again(recording: Path) -> None:
    made = ios_file(recording)
    assert made is not None
    count = pq.read_metadata(made).num_rows
    next((recording / "events").glob("segment-*.parquet")).write_bytes(b"broken")
    again = ios_file(recording)
    assert again is not None
    assert pq.read_metadata(again).num_rows < count


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_a_table_that_cannot_be_read_is_made_again(recording: Path, content: bytes) -> None:
    (recording / "ios.parquet").write_bytes(content)
    assert sum(table.num_rows for table in io_tables(recording, ["io"])) > 0


def test_a_table_of_chosen_ios_is_not_taken_for_all(recording: Path) -> None:
    report(recording, ReportOptions(table_path=recording / "ios.parquet", slowest=0))
    before = (recording / "ios.parquet").stat().st_mtime_ns
    assert ios_file(recording) is not None
    assert (recording / "ios.parquet").stat().st_mtime_ns != before


def test_a_place_that_cannot_be_written_gives_the_same_ios(recording: Path) -> None:
    expected = pa.concat_tables(io_tables(recording, ["io", "latency_ns"]))
    (recording / "ios.parquet").unlink()
    (recording / ".ios.parquet.part").mkdir()
    assert ios_file(recording) is None
    assert pa.concat_tables(io_tables(recording, ["io", "latency_ns"])).equals(expected)
