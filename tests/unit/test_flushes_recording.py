"""A real recording of QEMU 11, which flushes by io_submit: tests/data/flushes.vio (make_flushes.py)."""

import itertools
import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
from lab.witness import Findings, examine
from tests.samples import ios_of

from vio.layer import Op
from vio.recording import Recording
from vio.reporter import stream
from vio.schema import OPS

FLUSHES = Path(__file__).parents[1] / "data" / "flushes.vio"
XFS, EXT4 = 0, 1


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return examine(FLUSHES, tmp_path_factory.mktemp("flushes") / "ios.parquet")


def test_every_io_is_whole_and_adds_up(findings: Findings) -> None:
    assert findings.io_count == findings.whole_count == findings.exact_count > 200
    assert (findings.losses, findings.lacks, findings.disagree) == ({}, {}, 0)


@pytest.mark.parametrize("disk", [XFS, EXT4])
def test_each_flush_that_the_guest_counted_is_followed_to_the_end_of_its_fsync(findings: Findings, disk: int) -> None:
    counted = json.loads((FLUSHES / "guest.json").read_text())
    is_flush = pc.equal(findings.ios["op"], OPS.index(Op.FLUSH))
    flushes = findings.ios.filter(pc.and_(is_flush, pc.equal(findings.ios["disk"], disk)))
    assert flushes.num_rows == counted[disk]
    # the worker may tell QEMU, which goes on at once, a moment before it ends itself
    stamps = ("t_aio_submit_ns", "t_vfs_begin_ns", "t_fs_begin_ns", "t_fs_end_ns", "t_vfs_end_ns")
    for earlier, later in itertools.pairwise(stamps):
        assert pc.all(pc.less_equal(flushes[earlier], flushes[later]), skip_nulls=False).as_py(), (earlier, later)
    assert pc.min(flushes["fs_up_ns"]).as_py() >= 0
    assert pc.any(pc.is_valid(flushes["t_bio_queue_ns"])).as_py()


def test_the_event_loops_own_requests_of_io_uring_are_not_there(findings: Findings) -> None:
    manifest = Recording.open(FLUSHES).manifest
    uring = {point.number for point in manifest.points if point.name.startswith("uring")}
    assert len(uring) == 2
    recorded = {number for table in Recording.open(FLUSHES).tables() for number in table["point"].unique().to_pylist()}
    assert not uring & recorded


@pytest.mark.parametrize("events", [300, 700, 3000])
def test_windows_of_any_size_give_the_same_ios(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    at_once = ios_of(FLUSHES)
    monkeypatch.setattr(stream, "WINDOW", events)
    assert ios_of(FLUSHES).equals(at_once)
