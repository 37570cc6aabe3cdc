"""Real writes through the page cache, each with a place of its own: is what is written back linked to the right IOs?"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lab.cachedio import Truth, record_cached
from lab.disk import Aio, Format
from lab.targets import TARGETS

from vio.reporter.report import ReportOptions, report, timeline
from vio.reporter.result import Report

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SCENES = {
    "ext4-raw-threads": ("root", Format.RAW, Aio.THREADS),
    "xfs-on-loop-raw-io_uring": ("xfs-loop", Format.RAW, Aio.IO_URING),
    "xfs-on-loop-qcow2-threads": ("xfs-loop", Format.QCOW2, Aio.THREADS),
}


@dataclass(frozen=True)
class Played:
    path: Path
    truth: Truth
    found: Report
    ios: pa.Table
    links: pa.Table
    places: dict[int, int]
    has_own_device: bool


@pytest.fixture(scope="module", params=SCENES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    place, image_format, aio = SCENES[request.param]
    path = tmp_path_factory.mktemp("cached") / "cached.vio"
    with TARGETS[place]() as target:
        truth = record_cached(target, path, image_format=image_format, aio=aio)
        places = file_places(target.directory / "disk.img", image_format, truth)
    found = report(path, ReportOptions())
    tables = [pq.read_table(path / f"{name}.parquet") for name in ("ios", "writebacks")]
    return Played(path, truth, found, tables[0], tables[1], places, place != "root")


def file_places(image: Path, image_format: Format, truth: Truth) -> dict[int, int]:
    """Ask qemu-img where each write lies in the image file."""
    command = ["qemu-img", "map", "-U", "--output=json", "-f", str(image_format), str(image)]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    known = [row for row in rows if "offset" in row]
    return {
        offset: next(r["offset"] + offset - r["start"] for r in known if 0 <= offset - r["start"] < r["length"])
        for offset, _ in truth.writes
    }


def writes_in_order(played: Played) -> list[dict[str, int]]:
    rows = [row for row in played.ios.to_pylist() if row["op"] == 1]
    return sorted(rows, key=lambda row: int(row["begin_ns"]))


def test_every_byte_that_was_synced_or_flushed_is_linked_to_the_io_that_wrote_it(played: Played) -> None:
    rows, truth = writes_in_order(played), played.truth
    assert [(row["offset"], row["bytes"]) for row in rows] == truth.writes
    got: dict[int, int] = {}
    by_io = {row["io"]: row for row in rows}
    for link in played.links.to_pylist():
        row = by_io.get(link["io"])
        if row is None:  # a flush, which writes QEMU's tables
            continue
        begin = played.places[row["offset"]]
        assert begin <= link["file_offset"]
        assert link["file_offset"] + link["bytes"] <= begin + row["bytes"]
        assert link["queued_ns"] > row["begin_ns"]
        assert link["completed_ns"] >= link["issued_ns"] >= link["queued_ns"]
        got[link["io"]] = got.get(link["io"], 0) + link["bytes"]
    lost = {*truth.overwritten, *truth.left}
    wanted = {row["io"]: row["bytes"] for place, row in enumerate(rows) if place not in lost}
    linked = sum(min(got.get(io, 0), count) for io, count in wanted.items())
    assert linked >= 0.99 * sum(wanted.values())


def test_what_was_overwritten_in_the_cache_is_linked_only_if_it_was_written_back_before(played: Played) -> None:
    rows, truth = writes_in_order(played), played.truth
    links = played.links.to_pylist()
    count = (len(truth.writes) - len(truth.left) - len(truth.overwritten)) // 2
    early = 0
    for number, place in enumerate(truth.overwritten):
        old, new = rows[place], rows[count + number]
        assert (old["offset"], old["io"] == new["io"]) == (new["offset"], False)
        # XFS itself writes the end of a file back when QEMU has it allocate beyond it.
        mine = [link for link in links if link["io"] == old["io"]]
        assert all(link["queued_ns"] < new["begin_ns"] for link in mine)
        early += sum(link["bytes"] for link in mine)
    assert played.found.writeback
    total = sum(truth.writes[place][1] for place in truth.overwritten)
    assert early <= 0.75 * total
    assert played.found.writeback.overwritten_bytes + early >= total


def test_the_cache_and_the_devices_add_up(played: Played) -> None:
    figures, truth = played.found.writeback, played.truth
    assert figures
    assert figures.cached_bytes == (
        figures.linked_bytes
        + figures.own_bytes
        + figures.overwritten_bytes
        + figures.dropped_bytes
        + figures.left_bytes
        + figures.lost_bytes
    )
    assert figures.device_bytes == (
        figures.linked_bytes
        + figures.own_bytes
        + figures.qemu_bytes
        + figures.unwritten_bytes
        + figures.disagreeing_bytes
        + figures.unmapped_bytes
    )
    assert figures.linked_bytes == sum(played.links["bytes"].to_pylist())
    assert figures.left_bytes + figures.linked_bytes >= sum(truth.writes[place][1] for place in truth.left)
    assert figures.disagreeing_bytes == 0
    if played.has_own_device:
        name, stats = next(iter(truth.devices.items()))
        assert name.startswith("loop")
        assert figures.device_bytes >= stats.write_bytes
        assert figures.linked_bytes + figures.own_bytes >= 0.9 * stats.write_bytes


def test_what_the_flush_caused_says_so_and_the_rest_does_not(played: Played) -> None:
    rows, count = writes_in_order(played), (len(played.truth.writes) - len(played.truth.left)) // 2
    flushes = {row["io"] for row in played.ios.to_pylist() if row["op"] == 2}
    causes = {link["io"]: link["caused_by"] for link in played.links.to_pylist()}
    synced = {causes.get(row["io"]) for row in rows[20:count] if row["io"] in causes}
    flushed = {causes.get(row["io"]) for row in rows[count + 40 : 2 * count] if row["io"] in causes}
    assert None in synced
    assert flushed & flushes


def test_the_times_of_the_ios_are_as_they_were(played: Played) -> None:
    rows = writes_in_order(played)
    reached = [row for row in rows if row["t_bio_queue_ns"] is not None]
    assert len(reached) <= 0.2 * len(rows)
    assert all(row["t_bio_queue_ns"] < row["begin_ns"] + row["latency_ns"] for row in reached)
    assert all((row["device_between_ns"] is None) == (row["t_bio_queue_ns"] is None) for row in rows)
    assert played.found.summary.total().whole_count == played.found.summary.total().io_count


def test_an_io_s_timeline_shows_its_writeback_after_its_end(played: Played) -> None:
    link = played.links.to_pylist()[0]
    text = timeline(played.path, link["io"])
    assert "later, not charged" in text
    assert f"{link['device_offset']:#x}" in text
