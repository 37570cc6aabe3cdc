"""Ten asynchronous writes to a file on OCFS2, recorded by fentry and kprobes on a 6.1 kernel (make_opened.py)."""

from pathlib import Path

import pytest

from vio.layer import Op, Stage
from vio.reporter.choice import Filter
from vio.reporter.report import ReportOptions, report, timeline
from vio.reporter.result import Report

OCFS2 = Path(__file__).parents[1] / "data" / "opened" / "ocfs2-native.vio"


@pytest.fixture(scope="module")
def opened() -> Report:
    return report(OCFS2, ReportOptions(Filter((Op.WRITE,)), is_table_written=False, with_stages=True))


def test_every_io_is_followed_whole_through_ocfs2(opened: Report) -> None:
    total = opened.summary.total()
    assert (total.io_count, total.whole_count) == (10, 10)
    assert opened.recorded.losses == ()
    assert opened.summary.stages[Stage.FS].count == 10
    ways = {point.attach.split(":")[0] for point in opened.recorded.manifest.points}
    assert {"fentry", "fexit", "kprobe", "kretprobe", "uprobe", "tracepoint"} <= ways


def test_each_write_has_the_stages_of_its_way_through_the_file_system(opened: Report) -> None:
    assert opened.parts is not None
    parts = opened.parts.parts_of(Stage.FS)
    once = ("file_write", "rw_lock", "rw_hold", "direct_IO", "blockdev_IO", "get_block_write", "end_io")
    assert {name: (parts[name].own.count, parts[name].span_count) for name in once} == dict.fromkeys(once, (10, 10))
    assert parts["inode_lock"].span_count == 30
    assert not any(one.open_count for one in parts.values())
    inner = sum(one.own.total_ns for one in parts.values())
    assert inner + opened.parts.rest[Stage.FS].total_ns == opened.summary.stages[Stage.FS].total_ns
    assert opened.parts.rest[Stage.FS].total_ns < 0.1 * opened.summary.stages[Stage.FS].total_ns


def test_the_way_from_point_to_point_is_that_of_the_kernels_source(opened: Report) -> None:
    assert opened.parts is not None
    hops = opened.parts.hops
    way = [
        "aio_submit", "vfs_begin", "fs_begin", "fs file_write", "fs rw_lock", "fs rw_hold", "fs inode_lock",
        "fs direct_IO", "fs blockdev_IO", "fs get_block_write", "block submit_bio", "bio_queue", "rq_issue",
        "rq_complete", "fs end_io", "fs_end", "aio_end", "block_end",
    ]  # fmt: skip
    assert [point for point in hops.points if point in way] == way
    assert hops.count.tolist() == [10] * (len(hops.points) - 1)
    assert [row.device_offset for row in hops.rows] == [0x7F010000 + 0x101000 * number for number in range(10)]
    assert all(min(row.hops_ns) >= 0 for row in hops.rows)


def test_what_ends_in_a_worker_hangs_below_the_write_that_it_completes() -> None:
    lines = timeline(OCFS2, 3).splitlines()
    fs = next(line for line in lines if "- fs " in line)
    done = next(line for line in lines if "- end_io" in line)
    hold = next(line for line in lines if "- rw_hold" in line)
    assert done.index("end_io") > fs.index("fs")
    assert hold.index("rw_hold") > fs.index("fs")
