"""How bios are followed through mapped devices: stories that no kernel tells on order, with numbers as they come."""

import numpy as np

from vio.manifest import DeviceInfo
from vio.reporter.block import Blocks, read_blocks
from vio.reporter.events import Events, Window
from vio.reporter.stack import Below
from vio.reporter.steps import below_of

POINTS = {
    name: number
    for number, name in enumerate(
        ("bio_queue", "bio_split", "bio_remap", "rq_issue", "rq_complete", "bio_complete", "rq_remap"), 1
    )
}
MD, ONE, TWO, PARTITION = 9 << 20, 8 << 20, 8 << 20 | 16, 8 << 20 | 1
WRITE, FLUSH = 2, 3
KIB = 1024
THREAD, WORKER = 7, 8

Row = tuple[str, int, int, int, int, int, int]


def queue(device: int, offset: int, size: int, op: int = WRITE, tid: int = THREAD) -> Row:
    return ("bio_queue", op, device, offset, size, 0, tid)


def remap(old: int, old_offset: int, new: int, offset: int, tid: int = THREAD) -> Row:
    return ("bio_remap", WRITE, new, offset, old, old_offset // 512, tid)


def request(device: int, offset: int, size: int, op: int = WRITE) -> list[Row]:
    return [(point, op, device, offset, size, 0, WORKER) for point in ("rq_issue", "rq_complete")]


def done(device: int, offset: int, size: int, op: int = WRITE) -> Row:
    return ("bio_complete", op, device, offset, size, 0, WORKER)


def read(rows: list[Row], below: Below | None = None) -> Blocks:
    """Join rows, one a microsecond."""
    columns = [np.array(column) for column in zip(*((POINTS[row[0]], *row[1:]) for row in rows), strict=True)]
    point, flags, space, offset, size, key, tid = columns
    events = Events(
        ts_ns=np.arange(len(rows), dtype=np.int64) * 1000,
        point=point.astype(np.uint8),
        flags=flags.astype(np.uint16),
        tid=tid.astype(np.int32),
        space=space.astype(np.uint32),
        bytes=size.astype(np.int64),
        offset=offset.astype(np.int64),
        key=key.astype(np.uint64),
        aux=np.zeros(len(rows), dtype=np.uint32),
    )
    return read_blocks(Window(events, POINTS), below)


def test_a_write_that_waits_is_followed_to_another_thread() -> None:
    blocks = read(
        [
            queue(MD, 4096, 4096),
            remap(MD, 4096, ONE, 8192, WORKER),
            queue(ONE, 8192, 4096, tid=WORKER),
            *request(ONE, 8192, 4096),
            done(MD, 4096, 4096),
        ]
    )
    assert blocks.bios.upper.tolist() == [-1, 0]
    assert blocks.request.tolist() == [-1, 0]
    assert blocks.ends()[0].tolist() == [5, 4]
    assert blocks.ends()[1].tolist() == [4, -1]


def test_both_legs_of_a_mirror_are_the_writes() -> None:
    blocks = read(
        [
            queue(MD, 4096, 4096),
            remap(MD, 4096, ONE, 4096),
            remap(MD, 4096, TWO, 4096),
            queue(ONE, 4096, 4096),
            queue(TWO, 4096, 4096),
            *request(TWO, 4096, 4096),
            *request(ONE, 4096, 4096),
        ]
    )
    assert blocks.bios.upper.tolist() == [-1, 0, 0]
    assert blocks.ends()[0].tolist() == [8, 8, 6]


def test_of_writes_to_one_place_the_first_goes_first() -> None:
    blocks = read(
        [
            queue(MD, 4096, 4096),
            queue(MD, 4096, 4096),
            remap(MD, 4096, ONE, 4096, WORKER),
            queue(ONE, 4096, 4096, tid=WORKER),
            remap(MD, 4096, ONE, 4096, WORKER),
            queue(ONE, 4096, 4096, tid=WORKER),
        ]
    )
    assert blocks.bios.upper.tolist() == [-1, -1, 0, 1]


def test_a_bio_that_is_complete_has_no_more_below_it() -> None:
    rows = [
        queue(MD, 4096, 4096),
        remap(MD, 4096, ONE, 4096),
        queue(ONE, 4096, 4096),
        *request(ONE, 4096, 4096),
        done(MD, 4096, 4096),
        # of the next bio at this place the event was lost
        remap(MD, 4096, ONE, 4096),
        queue(ONE, 4096, 4096),
        *request(ONE, 4096, 4096),
    ]
    assert read(rows).bios.upper.tolist() == [-1, 0, -1]


def test_pieces_that_md_cuts_without_saying_so_are_the_same_writes() -> None:
    blocks = read(
        [
            queue(MD, 60 * KIB, 12 * KIB),
            remap(MD, 60 * KIB, ONE, 60 * KIB),
            queue(ONE, 60 * KIB, 4 * KIB),
            remap(MD, 64 * KIB, TWO, 0),
            queue(TWO, 0, 8 * KIB),
        ]
    )
    assert blocks.bios.upper.tolist() == [-1, 0, 0]


def test_a_remap_within_a_partition_is_no_step() -> None:
    rows = [
        # another bio lies on the disk where this one lies on its partition
        queue(PARTITION, 4096, 4096),
        remap(PARTITION, 4096, PARTITION, 4096 + 512 * KIB),
        queue(PARTITION, 4096 + 512 * KIB, 4096),
        *request(ONE, 4096 + 512 * KIB, 4096),
    ]
    blocks = read(rows, Below({PARTITION: ONE}))
    assert blocks.bios.upper.tolist() == [-1, -1]
    assert blocks.request.tolist() == [-1, 0]


def test_a_mapped_device_on_a_partition() -> None:
    rows = [
        queue(MD, 0, 4096),
        remap(MD, 0, PARTITION, 8192),
        remap(PARTITION, 8192, PARTITION, 8192 + 512 * KIB),
        queue(PARTITION, 8192 + 512 * KIB, 4096),
        *request(ONE, 8192 + 512 * KIB, 4096),
    ]
    blocks = read(rows, Below({PARTITION: ONE}))
    assert blocks.bios.upper.tolist() == [-1, 0]
    assert blocks.request.tolist() == [-1, 0]


def test_a_bio_that_moves_itself_is_one_bio() -> None:
    blocks = read([queue(MD, 4096, 4096), remap(MD, 4096, ONE, 8192), *request(ONE, 8192, 4096)])
    assert blocks.bio_device.tolist() == [ONE]
    assert blocks.request.tolist() == [0]


def test_an_arrays_flush_is_that_of_its_disks() -> None:
    below = Below(parents={MD: (ONE, TWO)})
    rows = [
        queue(MD, 0, 0, FLUSH),
        queue(ONE, 0, 0, FLUSH, WORKER),
        queue(TWO, 0, 0, FLUSH, WORKER),
        *request(ONE, 0, 0, FLUSH),
        *request(TWO, 0, 0, FLUSH),
        done(MD, 0, 0, FLUSH),
        queue(ONE, 0, 0, FLUSH),
    ]
    assert read(rows, below).bios.upper.tolist() == [-1, 0, 0, -1]


def test_a_request_that_is_handed_on_is_issued_below() -> None:
    rows: list[Row] = [
        queue(MD, 4096, 4096),
        ("rq_issue", WRITE, MD, 4096, 4096, 0, THREAD),
        ("rq_remap", WRITE, ONE, 4096, MD, 8, THREAD),
        *request(ONE, 4096, 4096),
        ("rq_complete", WRITE, MD, 4096, 4096, 0, WORKER),
    ]
    blocks = read(rows)
    assert blocks.request.tolist() == [0]
    assert blocks.below.tolist() == [1, 1]
    assert blocks.ends()[0].tolist() == [5]


def test_many_remaps_to_one_place_are_no_many_times_as_many_steps() -> None:
    count = 50_000
    rows = [queue(MD, 0, 512)] * count + [remap(MD, 0, ONE, 0)] * count + [queue(ONE, 0, 512)] * 3
    blocks = read(rows)
    assert blocks.bios.upper[-3:].tolist() != [-1, -1, -1]


def test_older_recordings_know_a_partitions_disk_by_its_name() -> None:
    devices = [
        DeviceInfo("sda1", "partition", 8, 1, PARTITION, 0),
        DeviceInfo("sda", "disk", 8, 0, ONE, 0),
        DeviceInfo("sdb", "disk", 8, 16, TWO, 0),
    ]
    assert below_of(devices) == Below({PARTITION: ONE}, {})
