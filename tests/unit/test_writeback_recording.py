"""A short real recording of writes through the page cache (tests/data/make_writeback.py), asked without root."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.commandline import Vio, vio

from vio.mappers.store import from_table
from vio.recording import Recording
from vio.reporter import stream
from vio.reporter.stream import Join

__all__ = ["vio"]

DATA = Path(__file__).parent.parent / "data"
RECORDING = DATA / "writeback.vio"
WRITE = 1


def joined() -> tuple[Join, pa.Table, pa.Table]:
    """Join the recording: the join, its IOs, its writebacks."""
    join = Join(Recording.open(RECORDING))
    ios = pa.concat_tables(list(join.tables()))
    assert join.writeback
    return join, ios, join.writeback.take()


def image_places(offsets: list[int]) -> list[int]:
    """Say where the guest's addresses lie in the image file, by the image's own tables at the stop."""
    stored = Recording.open(RECORDING).read_maps()
    assert stored
    tables = [one.map for one in from_table(stored).maps if one.map.source_space.startswith("guest:")]
    pieces = tables[-1].lookup(np.array(offsets), 1)
    return [int(place) for place in pieces.target.tolist()]


def test_each_write_is_linked_at_the_place_that_the_image_gives_it() -> None:
    truth = json.loads((DATA / "writeback.json").read_text(encoding="utf-8"))
    _, ios, links = joined()
    rows = sorted((row for row in ios.to_pylist() if row["op"] == WRITE), key=lambda row: int(row["begin_ns"]))
    assert [[row["offset"], row["bytes"]] for row in rows] == truth["writes"]
    begins = dict(zip((row["io"] for row in rows), image_places([row["offset"] for row in rows]), strict=True))
    length = {row["io"]: row["bytes"] for row in rows}
    left = {rows[place]["io"] for place in truth["left"]}
    # QEMU had not written its tables for the last ones: nothing but the IO itself tells their place.
    assert {io for io, place in begins.items() if place < 0} <= left
    got = dict.fromkeys(begins, 0)
    for link in links.to_pylist():
        begin = begins.get(link["io"], -1)
        if begin >= 0:
            assert begin <= link["file_offset"]
            assert link["file_offset"] + link["bytes"] <= begin + length[link["io"]]
            got[link["io"]] += link["bytes"]
    changed = {rows[place]["io"] for place in truth["overwritten"]} | left
    assert all(got[io] == length[io] for io in got if io not in changed)


@pytest.mark.parametrize("window", [37, 250, 999])
def test_the_size_of_the_windows_does_not_matter(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, ios, links = joined()
    monkeypatch.setattr(stream, "WINDOW", window)
    cut, cut_ios, cut_links = joined()

    assert by_begin(cut_ios, cut_links) == by_begin(ios, links)
    assert cut.writeback
    assert whole.writeback
    for name in ("cached_bytes", "linked_bytes", "own_bytes", "overwritten_bytes", "left_bytes", "unwritten_bytes"):
        assert getattr(cut.writeback.figures, name) == getattr(whole.writeback.figures, name), name


def by_begin(ios: pa.Table, links: pa.Table) -> list[tuple[int, ...]]:
    """List the links by when the IO began: IOs are numbered by windows."""
    begins = dict(zip(ios["io"].to_pylist(), ios["begin_ns"].to_pylist(), strict=True))
    columns = ("device_offset", "file_offset", "bytes", "queued_ns", "issued_ns", "completed_ns")
    return sorted((begins[row["io"]], *(row[name] or 0 for name in columns)) for row in links.to_pylist())


def test_the_command_writes_the_table_and_shows_the_writeback(tmp_path: Path, vio: Vio) -> None:
    copy = tmp_path / "writeback.vio"
    shutil.copytree(RECORDING, copy)

    shown = vio("report", str(copy))[1]
    assert "linked by address, not charged" in " ".join(shown.split())
    assert "writebacks.parquet" in shown
    links = pq.read_table(copy / "writebacks.parquet").to_pylist()
    found = json.loads(vio("report", str(copy), "--json")[1])["writeback"]
    assert found["linked_bytes"] == sum(link["bytes"] for link in links)
    assert "later, not charged" in vio("report", str(copy), "--io", str(links[0]["io"]))[1]


def test_a_recording_past_the_page_cache_has_no_writeback(tmp_path: Path, vio: Vio) -> None:
    copy = tmp_path / "bench.vio"
    shutil.copytree(DATA / "bench.vio", copy)

    assert json.loads(vio("report", str(copy), "--json")[1])["writeback"] is None
    assert not (copy / "writebacks.parquet").exists()
