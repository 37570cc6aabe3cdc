"""How bios find their requests; the stories are cut from real recordings (ext4 on a shared virtio disk)."""

import numpy as np

from vio.reporter.block import Blocks, read_blocks
from vio.reporter.events import Events, Window

POINTS = {
    name: number
    for number, name in enumerate(
        ("bio_queue", "bio_split", "bio_remap", "rq_insert", "rq_requeue", "rq_issue", "rq_complete"), 1
    )
}
READ, WRITE, FLUSH = 1, 2, 3
DISK, PARTITION = 254 << 20, 254 << 20 | 1
KIB = 1024

Story = list[tuple[str, int, int, int]]


def joined(story: Story, extra: dict[int, tuple[int, int]] | None = None, device: int = DISK) -> Blocks:
    """Join rows of (point, op, offset, bytes), one a microsecond; `extra` gives (space, key) of some rows."""
    count = len(story)
    special = extra or {}
    return read_blocks(
        Window(
            Events(
                ts_ns=np.arange(count, dtype=np.int64) * 1000,
                point=np.array([POINTS[row[0]] for row in story], dtype=np.uint8),
                flags=np.array([row[1] for row in story], dtype=np.uint16),
                tid=np.full(count, 7, dtype=np.int32),
                space=np.array([special.get(n, (device, 0))[0] for n in range(count)], dtype=np.uint32),
                bytes=np.array([row[3] for row in story], dtype=np.int64),
                offset=np.array([row[2] for row in story], dtype=np.int64),
                key=np.array([special.get(n, (device, 0))[1] for n in range(count)], dtype=np.uint64),
                aux=np.zeros(count, dtype=np.uint32),
            ),
            POINTS,
        )
    )


def issued(blocks: Blocks) -> list[int]:
    """Return the row of the issue that each bio went into, -1 for none."""
    return [int(blocks.issue[r]) if r >= 0 else -1 for r in blocks.request]


def test_a_bio_is_a_request_of_its_own() -> None:
    blocks = joined(
        [
            ("bio_queue", READ, 8192, 4096),
            ("rq_insert", READ, 8192, 4096),
            ("rq_issue", READ, 8192, 4096),
            ("rq_complete", READ, 8192, 4096),
        ]
    )
    assert issued(blocks) == [2]
    assert blocks.insert.tolist() == [1]
    assert blocks.complete.tolist() == [3]


def test_merged_bios_go_into_the_request_of_their_own_round() -> None:
    # 241280 came in front of what was there; a round later the same blocks are written again.
    one_round: Story = [
        ("bio_queue", WRITE, 245376 * KIB, 4096 * KIB),
        ("bio_queue", WRITE, 249472 * KIB, 4096 * KIB),
        ("bio_queue", WRITE, 241280 * KIB, 4096 * KIB),
        ("bio_queue", WRITE, 253568 * KIB, 4096 * KIB),
        ("rq_issue", WRITE, 241280 * KIB, 16384 * KIB),
        ("rq_complete", WRITE, 241280 * KIB, 16384 * KIB),
    ]
    blocks = joined(one_round * 3)
    assert issued(blocks) == [4] * 4 + [10] * 4 + [16] * 4
    assert blocks.complete.tolist() == [5, 11, 17]


def test_a_bio_that_was_never_issued_has_no_request() -> None:
    blocks = joined(
        [
            ("bio_queue", WRITE, 4096, 4096),
            ("rq_issue", WRITE, 4096, 4096),
            ("rq_complete", WRITE, 4096, 4096),
            ("bio_queue", WRITE, 8192, 4096),
        ]
    )
    assert issued(blocks) == [1, -1]


def test_flushes_share_the_next_flush_request() -> None:
    blocks = joined(
        [
            ("bio_queue", FLUSH, 0, 0),
            ("bio_queue", FLUSH, 0, 0),
            ("rq_issue", FLUSH, 0, 0),
            ("rq_complete", FLUSH, -512, 0),
        ]
    )
    assert issued(blocks) == [2, 2]
    assert blocks.complete.tolist() == [3]


def test_a_requeued_request_is_issued_again() -> None:
    blocks = joined(
        [
            ("bio_queue", READ, 4096, 4096),
            ("rq_issue", READ, 4096, 4096),
            ("rq_requeue", READ, 4096, 4096),
            ("rq_issue", READ, 4096, 4096),
            ("rq_complete", READ, 4096, 4096),
        ]
    )
    assert issued(blocks) == [3]
    assert blocks.complete.tolist() == [4]


def test_a_request_completed_in_parts_ends_with_the_last() -> None:
    blocks = joined(
        [
            ("bio_queue", READ, 0, 12288),
            ("rq_issue", READ, 0, 12288),
            ("rq_complete", READ, 0, 4096),
            ("rq_complete", READ, 4096, 4096),
            ("rq_complete", READ, 8192, 4096),
        ]
    )
    assert blocks.complete.tolist() == [4]


def test_a_split_bio_is_two_requests() -> None:
    blocks = joined(
        [
            ("bio_queue", WRITE, 0, 8192),
            ("bio_split", WRITE, 0, 0),
            ("rq_issue", WRITE, 0, 4096),
            ("rq_issue", WRITE, 4096, 4096),
            ("rq_complete", WRITE, 4096, 4096),
            ("rq_complete", WRITE, 0, 4096),
        ],
        extra={1: (DISK, 4096 // 512)},
    )
    assert issued(blocks) == [2, 3]
    assert blocks.complete.tolist() == [5, 4]


def test_a_bio_of_a_partition_is_followed_to_the_disk() -> None:
    blocks = joined(
        [
            ("bio_queue", READ, 4096, 4096),
            ("bio_remap", READ, 4096 + 2048 * 512, PARTITION),
            ("rq_issue", READ, 4096 + 2048 * 512, 4096),
            ("rq_complete", READ, 4096 + 2048 * 512, 4096),
        ],
        extra={0: (PARTITION, 0), 1: (DISK, 4096 // 512)},
    )
    assert issued(blocks) == [2]
    assert blocks.bio_device.tolist() == [DISK]
