"""What drivers say of requests; the order of events is that of Linux 6.1's sources for scsi and virtio_blk."""

from types import SimpleNamespace
from typing import cast

import numpy as np

from vio.layer import Stage
from vio.manifest import DeviceInfo
from vio.reporter.drivers import DriverReader
from vio.reporter.events import Events, Window
from vio.reporter.join import Joined
from vio.reporter.paths import Spans

NAMES = ("rq_issue", "rq_complete", "scsi_command", "scsi_command_end", "virtio_command", "virtio_command_end")
POINTS = {name: number for number, name in enumerate(NAMES, 1)}
SDA, VDA = 8 << 20, 254 << 20
DEVICES = (DeviceInfo("sda", "disk", 8, 0, SDA, 0), DeviceInfo("vda", "disk", 254, 0, VDA, 0))
SUBMITTER, IDLE = 7, 0
DEVICE = tuple(Stage).index(Stage.DEVICE)

Row = tuple[str, int, int, int]


def parts(rows: list[Row], requests: list[tuple[int, int]]) -> list[tuple[int, str, int, int]]:
    """Give IO, name, begin and end of the parts; rows are (point, thread, space, key), one each ns."""
    count = len(rows)
    zeroes = np.zeros(count, dtype=np.int64)
    events = Events(
        np.arange(count, dtype=np.int64),
        np.array([POINTS[row[0]] for row in rows], dtype=np.uint8),
        zeroes.astype(np.uint16),
        np.array([row[1] for row in rows], dtype=np.int32),
        np.array([row[2] for row in rows], dtype=np.uint32),
        zeroes,
        zeroes,
        np.array([row[3] for row in rows], dtype=np.uint64),
        zeroes.astype(np.uint32),
    )
    begin, end = (np.array(side, dtype=np.int64) for side in zip(*requests, strict=True))
    spans = Spans(np.arange(begin.size), np.full(begin.size, DEVICE), begin, end)
    is_done = np.ones(begin.size, dtype=np.bool_)
    joined = cast(Joined, SimpleNamespace(window=Window(events, POINTS), spans=spans, is_done=is_done))
    found = DriverReader(DEVICES).read(joined)
    columns = (found.io.tolist(), found.name, found.begin_ns.tolist(), found.end_ns.tolist())
    return sorted(zip(*columns, strict=True))


def test_scsi_commands_are_told_by_their_tags() -> None:
    rows: list[Row] = [
        ("rq_issue", SUBMITTER, SDA, 0),
        ("scsi_command", SUBMITTER, 1, 31),
        ("rq_issue", SUBMITTER, SDA, 0),
        ("scsi_command", SUBMITTER, 1, 32),
        ("scsi_command_end", IDLE, 1, 32),
        ("rq_complete", IDLE, SDA, 0),
        ("scsi_command_end", IDLE, 1, 31),
        ("rq_complete", IDLE, SDA, 0),
    ]
    assert parts(rows, [(0, 7), (2, 5)]) == [
        (0, "scsi completion", 6, 7),
        (0, "scsi device", 1, 6),
        (0, "scsi queueing", 0, 1),
        (1, "scsi completion", 4, 5),
        (1, "scsi device", 3, 4),
        (1, "scsi queueing", 2, 3),
    ]


def test_one_interrupt_of_virtio_blk_may_be_for_several_requests() -> None:
    rows: list[Row] = [
        ("rq_issue", SUBMITTER, VDA, 0),
        ("virtio_command", SUBMITTER, 0, 0),
        ("rq_issue", SUBMITTER, VDA, 0),
        ("virtio_command", SUBMITTER, 0, 0),
        ("virtio_command_end", IDLE, 0, 0),
        ("rq_complete", IDLE, VDA, 0),
        ("rq_complete", IDLE, VDA, 0),
    ]
    assert parts(rows, [(0, 5), (2, 6)]) == [
        (0, "virtio_blk completion", 4, 5),
        (0, "virtio_blk device", 1, 4),
        (0, "virtio_blk queueing", 0, 1),
        (1, "virtio_blk completion", 4, 6),
        (1, "virtio_blk device", 3, 4),
        (1, "virtio_blk queueing", 2, 3),
    ]


def test_requests_that_virtio_blk_is_given_together_are_queued_in_their_order() -> None:
    rows: list[Row] = [
        ("virtio_command", SUBMITTER, 0, 0),  # of another driver
        ("rq_issue", SUBMITTER, VDA, 0),
        ("rq_issue", SUBMITTER, VDA, 0),
        ("virtio_command", SUBMITTER, 0, 0),
        ("virtio_command", SUBMITTER, 0, 0),
        ("virtio_command_end", SUBMITTER, 0, 0),
        ("rq_complete", SUBMITTER, VDA, 0),
        ("rq_complete", SUBMITTER, VDA, 0),
    ]
    queued = [one for one in parts(rows, [(1, 6), (2, 7)]) if one[1] == "virtio_blk queueing"]
    assert queued == [(0, "virtio_blk queueing", 1, 3), (1, "virtio_blk queueing", 2, 4)]


def test_a_request_whose_command_was_not_seen_has_no_parts() -> None:
    rows: list[Row] = [
        ("rq_issue", SUBMITTER, SDA, 0),
        ("rq_complete", IDLE, SDA, 0),
        ("rq_issue", SUBMITTER, SDA, 0),
        ("scsi_command", SUBMITTER, 1, 31),
        ("scsi_command_end", IDLE, 1, 31),
        ("rq_complete", IDLE, SDA, 0),
    ]
    assert {io for io, *_ in parts(rows, [(0, 1), (2, 5)])} == {1}
