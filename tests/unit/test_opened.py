"""File systems opened, recorded on lab hosts (tests/data/make_opened.py), and the page that tells of them."""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
from lab.contend import RW_LOCK
from tests.commandline import Vio, vio
from tests.waits import waits_ns

from vio.layer import Op, Stage
from vio.reporter.choice import Filter
from vio.reporter.partsum import PartSummary
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Report

OPENED = Path(__file__).parents[1] / "data" / "opened"
PAGE = Path(__file__).parents[2] / "docs" / "demonstration.md"
__all__ = ["vio"]


@lru_cache
def opened(name: str, op: Op) -> tuple[Report, PartSummary]:
    found = report(OPENED / f"{name}.vio", ReportOptions(Filter((op,)), is_table_written=False, with_stages=True))
    assert found.parts is not None
    return found, found.parts


def the_way() -> str:
    """Return the points of the page's table, the last column."""
    rows = re.findall(r"^\| \d+ \|.*\| `([^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
    return ",".join(rows)


def test_the_page_shows_what_the_report_prints(vio: Vio, tmp_path: Path) -> None:
    place = shutil.copytree(OPENED, tmp_path / "opened")
    for block in re.finditer(r"<!-- vio (?P<command>.+?) -->\n(?P<shown>.*?)<!-- end -->", PAGE.read_text(), re.DOTALL):
        words = re.findall(r'"[^"]*"|\S+', block["command"].replace("WAY", the_way()))
        code, out, err = vio(*(word.strip('"').replace("tests/data/opened", str(place)) for word in words))
        assert code == 0, err
        shown = [line.strip() for line in block["shown"].splitlines() if line.strip()]
        assert shown
        assert set(shown) <= {line.strip() for line in out.splitlines()}


@pytest.mark.parametrize("name", ["ocfs2-write", "ocfs2-native"])
def test_ten_writes_pass_all_points_of_the_demonstration(name: str) -> None:
    found, parts = opened(name, Op.WRITE)
    assert (found.summary.total().io_count, found.summary.total().whole_count) == (10, 10)
    assert found.recorded.losses == ()
    fs = parts.parts_of(Stage.FS)
    once = ("file_write", "rw_lock", "rw_hold", "direct_write", "direct_IO", "blockdev_IO", "get_block_write", "end_io")
    assert {one: (fs[one].own.count, fs[one].span_count) for one in once} == dict.fromkeys(once, (10, 10))
    inner = sum(one.own.total_ns for one in fs.values()) + parts.rest[Stage.FS].total_ns
    assert inner == found.summary.stages[Stage.FS].total_ns
    assert parts.rest[Stage.FS].total_ns < 0.1 * inner


def test_each_stage_of_the_demonstration_has_a_time_for_each_write() -> None:
    way = tuple(the_way().split(","))
    assert len(way) == 11
    options = ReportOptions(Filter((Op.WRITE,)), is_table_written=False, with_stages=True, way=way)
    found = report(OPENED / "ocfs2-write.vio", options)
    assert found.parts is not None
    hops = found.parts.hops
    assert hops.count.tolist() == [10] * 10
    assert all(min(row.hops_ns) >= 0 for row in hops.rows)
    offsets = [row.device_offset or 0 for row in hops.rows]
    assert [one - offsets[0] for one in offsets] == [number * 0x101000 for number in range(10)]


def test_parts_come_in_the_order_of_the_way() -> None:
    _, parts = opened("ocfs2-write", Op.WRITE)
    names = [name for name, one in parts.parts_of(Stage.FS).items() if one.span_count]
    assert names[:3] == ["file_write", "rw_lock", "rw_hold"]
    assert names[-1] == "end_io"


@pytest.mark.parametrize(
    ("name", "writing", "syncing"),
    [
        ("ext4-new", {"file_write", "map_blocks", "new_blocks", "journal_start", "iomap_dio"}, {"journal_wait"}),
        ("xfs-new", {"file_write", "ilock", "map_write", "allocate", "trans_reserve", "iomap_dio"}, {"log_force"}),
        ("btrfs-new", {"file_write", "lock_extent", "map_blocks", "reserve_extent", "iomap_dio"}, {"sync_log"}),
    ],
)
def test_other_file_systems_are_opened_too(name: str, writing: set[str], syncing: set[str]) -> None:
    found, parts = opened(name, Op.WRITE)
    assert (found.summary.total().io_count, found.summary.total().whole_count) == (10, 10)
    assert found.recorded.losses == ()
    fs = parts.parts_of(Stage.FS)
    assert {part for part in writing if fs[part].own.count == 10} == writing
    _, flushes = opened(name, Op.FLUSH)
    fs = flushes.parts_of(Stage.FS)
    syncing = syncing | {"sync_file"}
    assert {part for part in syncing if fs[part].own.total_ns} == syncing


def test_reads_map_blocks_under_the_same_locks() -> None:
    _, parts = opened("ocfs2-read", Op.READ)
    fs = parts.parts_of(Stage.FS)
    once = ("file_read", "rw_lock", "rw_hold", "inode_lock", "direct_IO", "blockdev_IO", "get_block_read", "end_io")
    assert {one: fs[one].span_count for one in once} == dict.fromkeys(once, 10)


def test_a_buffered_write_is_short_and_its_flush_does_the_work() -> None:
    writes, in_write = opened("ocfs2-sync", Op.WRITE)
    flushes, in_flush = opened("ocfs2-sync", Op.FLUSH)
    assert Stage.BLOCK not in writes.summary.stages
    assert flushes.summary.stages[Stage.DEVICE].count == 10
    in_write_fs, in_flush_fs = in_write.parts_of(Stage.FS), in_flush.parts_of(Stage.FS)
    assert {in_write_fs[one].span_count for one in ("file_write", "rw_lock", "perform_write")} == {10}
    assert {in_flush_fs[one].span_count for one in ("sync_file", "write_and_wait", "journal_wait")} == {10}


def test_the_wait_for_a_lock_that_another_node_has_is_a_stage_of_its_own() -> None:
    alone, together = waits_ns((OPENED / "node0.vio", OPENED / "node1.vio"), RW_LOCK)
    assert max(alone[1:]) < max(together)
    assert sum(together) > 20 * sum(alone[1:])
