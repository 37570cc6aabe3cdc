"""The demonstration of examples/ocfs2-demo on a lab host: all points of the paper's table, in one file system."""

from pathlib import Path

import pytest
from lab.host import Host
from lab.opened import record_opened
from lab.volumes import FileSystem

from vio.layer import Op, Stage
from vio.reporter.choice import Filter
from vio.reporter.report import ReportOptions, report

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(900)]
STAGES = ("file_write", "rw_lock", "rw_hold", "direct_write", "direct_IO", "blockdev_IO", "get_block_write", "end_io")


def test_each_of_ten_writes_on_ocfs2_passes_every_stage(host: Host, tmp_path: Path) -> None:
    recording = record_opened(host, FileSystem.OCFS2, ("write",), tmp_path)["write"]
    found = report(recording, ReportOptions(Filter((Op.WRITE,)), is_table_written=False, with_stages=True))
    assert found.recorded.losses == ()
    assert (found.summary.total().io_count, found.summary.total().whole_count) == (10, 10)
    assert found.parts is not None
    fs = found.parts.parts_of(Stage.FS)
    assert {name: fs[name].span_count for name in STAGES} == dict.fromkeys(STAGES, 10)
    assert not {name for name in fs if name in {"map_blocks", "ilock", "iomap_dio"}}  # of other file systems
    assert [row.device_offset is not None for row in found.parts.hops.rows] == [True] * 10
