"""Work of the host's file systems, with the attempts that io_uring makes before; cut from real recordings."""

import numpy as np

from vio.reporter.events import Events, Window
from vio.reporter.works import Works, pass_on_to_retries, read_works

POINTS = {
    name: number
    for number, name in enumerate(
        ("dio", "dio_end", "fsync_ext4", "fsync_ext4_end", "fsync_xfs", "aio_fsync", "aio_fsync_end"), 1
    )
}
DEVICE, INODE = 254 << 20, 131
SUBMITTER, WORKER = 14776, 14862
EAGAIN = (1 << 32) - 11  # as dio_end has it

Story = list[tuple[str, int, int, int, int]]


def read(story: Story) -> Works:
    """Read rows of (point, thread, offset, bytes, flags), one a microsecond."""
    count = len(story)
    names, tids, offsets, lengths, flags = zip(*story, strict=True)
    return read_works(
        Window(
            Events(
                ts_ns=np.arange(count, dtype=np.int64) * 1000,
                point=np.array([POINTS[name] for name in names], dtype=np.uint8),
                flags=np.array(flags, dtype=np.uint16),
                tid=np.array(tids, dtype=np.int32),
                space=np.full(count, DEVICE, dtype=np.uint32),
                bytes=np.array(lengths, dtype=np.int64),
                offset=np.array(offsets, dtype=np.int64),
                key=np.full(count, INODE, dtype=np.uint64),
                aux=np.zeros(count, dtype=np.uint32),
            ),
            POINTS,
        )
    )


def test_an_attempt_without_waiting_that_failed_is_followed_by_its_retry() -> None:
    works = read(
        [
            ("dio", SUBMITTER, 8192, 4096, 0),
            ("dio_end", SUBMITTER, 8192, EAGAIN, 1),
            ("dio", WORKER, 8192, 4096, 0),
            ("dio_end", 12, 12288, 4096, 0),
        ]
    )
    assert works.end.tolist() == [1, 3]
    assert works.retried.tolist() == [-1, 0]
    assert not works.is_given_up.any()
    assert pass_on_to_retries(np.array([5, -1]), works).tolist() == [5, 5]


def test_an_attempt_that_met_cached_pages_has_no_end_and_is_given_up() -> None:
    works = read(
        [
            ("dio", SUBMITTER, 131072, 65536, 0),
            ("dio", WORKER, 131072, 65536, 0),
            ("dio_end", 12, 196608, 65536, 0),
        ]
    )
    assert works.end.tolist() == [-1, 2]
    assert works.is_given_up.tolist() == [True, False]


def test_the_last_begin_at_a_place_may_still_end() -> None:
    works = read([("dio", SUBMITTER, 0, 4096, 0), ("dio", SUBMITTER, 4096, 4096, 0)])
    assert works.end.tolist() == [-1, -1]
    assert not works.is_given_up.any()


def test_equal_work_one_after_the_other_is_no_retry() -> None:
    once: Story = [("dio", SUBMITTER, 0, 4096, 0), ("dio_end", SUBMITTER, 4096, 4096, 0)]
    works = read(once * 2)
    assert works.end.tolist() == [1, 3]
    assert works.retried.tolist() == [-1, -1]


def test_syncs_end_on_their_thread_and_lie_in_order_among_direct_io() -> None:
    works = read(
        [
            ("fsync_ext4", WORKER, 0, 0, 1),
            ("dio", SUBMITTER, 0, 4096, 0),
            ("fsync_xfs", 99, 0, 0, 0),
            ("fsync_ext4_end", WORKER, 0, 0, 0),
            ("dio_end", SUBMITTER, 4096, 4096, 0),
        ]
    )
    assert works.begin.tolist() == [0, 1, 2]
    assert works.end.tolist() == [3, 4, -1]
    assert works.is_direct.tolist() == [False, True, False]
    assert not works.is_given_up.any()


def test_an_fsync_of_xfs_ends_with_the_kernels_asynchronous_one_around_it() -> None:
    other = WORKER + 1
    works = read(
        [
            ("fsync_xfs", WORKER, 0, 0, 0),  # a loop device's, which is none
            ("aio_fsync", WORKER, 0, 0, 0),
            ("aio_fsync", other, 0, 0, 0),
            ("fsync_xfs", WORKER, 0, 0, 0),
            ("fsync_ext4", other, 0, 0, 0),
            ("fsync_ext4_end", other, 0, 0, 0),
            ("aio_fsync_end", other, 0, 0, 0),
            ("aio_fsync_end", WORKER, 0, 0, 0),
            ("fsync_xfs", WORKER, 0, 0, 0),
            ("aio_fsync", other, 0, 0, 0),
            ("fsync_xfs", other, 0, 0, 0),  # which lasts
        ]
    )
    assert works.end.tolist() == [-1, 7, 5, -1, -1]
    assert works.around.tolist() == [-1, 1, 2, -1, 9]
