"""IOs by the guest's file, on the recording that ships with vio and files that were put beside it."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab.demo import SAMPLE
from tests.commandline import Vio, vio
from tests.samples import ios_of

from vio.errors import RecordingError
from vio.mappers.guestfs.store import files_from, files_table
from vio.mappers.named import NamedRanges
from vio.recording import GUEST_FILES_FILE, Recording

__all__ = ["vio"]
MIB = 1 << 20


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Copy the sample; the first half of its disk is one file, the next MiB another, the rest nobody's."""
    path = tmp_path / "sample.vio"
    shutil.copytree(SAMPLE, path)
    disk = Recording.open(path).manifest.target.disks[0].name
    ranges = NamedRanges.of("guest", ("p1:/a", "p1:[journal]"), [0, 8 * MIB], [8 * MIB, MIB], [0, 1])
    pq.write_table(files_table([(disk, ranges)]), path / GUEST_FILES_FILE)
    return path


def test_bytes_are_each_files_own_and_add_up(vio: Vio, recording: Path) -> None:
    code, said, _ = vio("report", str(recording), "--by", "file", "--json")
    assert code == 0
    files = {one["name"]: one for one in json.loads(said)["files"]}
    ios = ios_of(recording).to_pandas()
    data = ios[ios["op"].isin([0, 1]) & (ios["bytes"] > 0)]
    assert sum(one["read_bytes"] + one["written_bytes"] for one in files.values()) == data["bytes"].sum()
    begin, end = data["offset"], data["offset"] + data["bytes"]
    inside = (end.clip(upper=8 * MIB) - begin.clip(upper=8 * MIB)).sum()
    mine = files.get("p1:/a", {"read_bytes": 0, "written_bytes": 0})
    assert mine["read_bytes"] + mine["written_bytes"] == inside
    assert "unknown" in files


def test_text_names_the_files(vio: Vio, recording: Path) -> None:
    code, said, _ = vio("report", str(recording), "--by", "file")
    assert code == 0
    assert "guest's file" in said
    assert "unknown" in said


def test_without_files_or_with_another_word_it_says_so(vio: Vio, tmp_path: Path) -> None:
    path = tmp_path / "sample.vio"
    shutil.copytree(SAMPLE, path)
    for words, said in ((["--by", "file"], "--guest-files"), (["--by", "moon"], "moon")):
        code, _, complaint = vio("report", str(path), *words)
        assert (code, said in complaint) == (2, True)


def test_stored_files_come_back() -> None:
    ranges = NamedRanges.of("guest:a", ("p1:/x", "p1:/y"), [0, 100], [10, 10], [1, 0], [5, 0])
    found = files_from(files_table([("a", ranges), ("b", ranges.of_owner("p1:/x"))]))
    assert list(found) == ["a", "b"]
    assert found["a"].of_owner("p1:/y").offset.tolist() == [5]
    assert found["b"].start.tolist() == [100]
    with pytest.raises(RecordingError, match="lack"):
        files_from(files_table([("a", ranges)]).drop_columns(["start"]))
