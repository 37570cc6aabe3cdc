"""What of an IO's time is its threads' waiting: small stories of one IO and the threads that carry it."""

from collections.abc import Mapping

import numpy as np
from tests.unit.test_runs import PREEMPT, SLEEP, STOP, Move, leaves, moves_of, runs, runs_of, woken

from vio.layer import Stage
from vio.reporter.offcpu import RUNQUEUE, WAKEUP, Lives, charge
from vio.reporter.offcpu import STOP as STOPPED

IOTHREAD, WORKER, KERNEL, KERNEL_WORKER, OTHER_WORKER = 20, 30, 7, 40, 41
WORKERS = np.array([KERNEL_WORKER, OTHER_WORKER])
STAGES = {stage: number for number, stage in enumerate(Stage)}

# stage, begin and end; each is the time, and who passes it
Span = tuple[Stage, tuple[int, int], tuple[int, int]]
# (wait, stage) -> ns
Found = dict[tuple[int, Stage], int]


def waits(spans: list[Span], *story: Move) -> Found:
    """Charge one IO, whose life is its first span's; events are at the spans' edges."""
    edges = sorted({edge for _, begin, end in spans for edge in (begin, end)})
    at: Mapping[tuple[int, int], int] = {edge: number for number, edge in enumerate(edges)}
    ts_ns, tid = (np.array(column, np.int64) for column in zip(*edges, strict=True))
    begin = np.array([at[first] for _, first, _ in spans], np.int64)
    end = np.array([at[last] for _, _, last in spans], np.int64)
    stage = np.array([STAGES[span[0]] for span in spans], np.int64)
    lives = Lives(begin[:1], end[:1], np.array([0, len(spans)]), np.arange(len(spans)), stage, begin, end)
    found = np.zeros((3, len(Stage), 1), np.int64)
    charge(found, np.zeros(1, np.int64), lives, ts_ns, tid, runs_of(moves_of(*story)), WORKERS)
    places = zip(*found.nonzero(), strict=True)
    return {(wait, tuple(Stage)[place]): int(found[wait, place, 0]) for wait, place, _ in places}


# taken and handed over by the iothread; the device is done at 50, in an interrupt that met somebody; reaped at 100
NATIVE: list[Span] = [
    (Stage.QEMU_BLOCK, (10, IOTHREAD), (110, IOTHREAD)),
    (Stage.QEMU_AIO, (20, IOTHREAD), (100, IOTHREAD)),
    (Stage.VFS, (22, IOTHREAD), (52, KERNEL)),
    (Stage.DEVICE, (25, IOTHREAD), (50, KERNEL)),
]


def test_a_thread_that_is_woken_and_does_not_run() -> None:
    found = waits(NATIVE, leaves(30, SLEEP, IOTHREAD), woken(53, KERNEL, tid=IOTHREAD), runs(95, IOTHREAD))
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 42, (WAKEUP, Stage.QEMU_AIO): 43}


def test_a_thread_that_waits_while_the_device_works_delays_nothing() -> None:
    assert waits(NATIVE, leaves(30, PREEMPT, IOTHREAD), runs(49, IOTHREAD)) == {}


def test_a_wait_that_began_before_counts_from_the_edge() -> None:
    found = waits(NATIVE, leaves(30, PREEMPT, IOTHREAD), runs(60, IOTHREAD))
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 8}


def test_a_stopped_thread() -> None:
    found = waits(NATIVE, leaves(40, STOP, IOTHREAD), woken(90, KERNEL, tid=IOTHREAD), runs(92, IOTHREAD))
    assert found == {
        (STOPPED, Stage.QEMU_AIO): 38,
        (RUNQUEUE, Stage.QEMU_AIO): 2,
        (WAKEUP, Stage.QEMU_AIO): 40,
    }


def test_a_thread_that_was_awake_needs_no_waking() -> None:
    found = waits(NATIVE, leaves(60, SLEEP, IOTHREAD), woken(70, KERNEL, tid=IOTHREAD), runs(75, IOTHREAD))
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 5}


# handed to a worker at 20; its system call is from 40 to 80, of which the device takes until 60
POOL: list[Span] = [
    (Stage.QEMU_BLOCK, (10, IOTHREAD), (110, IOTHREAD)),
    (Stage.QEMU_AIO, (20, IOTHREAD), (100, IOTHREAD)),
    (Stage.VFS, (40, WORKER), (80, WORKER)),
    (Stage.FS, (41, WORKER), (79, WORKER)),
    (Stage.DEVICE, (42, WORKER), (60, IOTHREAD)),
]


def test_a_worker_that_is_to_take_the_request() -> None:
    found = waits(POOL, leaves(5, SLEEP, WORKER), woken(22, IOTHREAD, tid=WORKER), runs(38, WORKER))
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 16, (WAKEUP, Stage.QEMU_AIO): 18}


def test_a_thread_that_is_preempted_before_it_wakes_the_worker() -> None:
    found = waits(
        POOL,
        leaves(5, SLEEP, WORKER),
        leaves(21, PREEMPT, IOTHREAD),
        runs(30, IOTHREAD),
        woken(31, IOTHREAD, tid=WORKER),
        runs(38, WORKER),
    )
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 9 + 7, (WAKEUP, Stage.QEMU_AIO): 18}


def test_a_worker_whose_call_is_done_and_that_does_not_run() -> None:
    found = waits(POOL, leaves(43, 2, WORKER), woken(61, 0, 8, WORKER), runs(78, WORKER))
    assert found == {(RUNQUEUE, Stage.FS): 17, (WAKEUP, Stage.FS): 18}


def test_a_worker_that_is_preempted_before_it_hands_over() -> None:
    found = waits(
        POOL,
        leaves(50, SLEEP, IOTHREAD),
        leaves(81, PREEMPT, WORKER),
        runs(91, WORKER),
        # another worker's waking, at the same time as this one's handing over
        woken(92, 99, tid=IOTHREAD),
        runs(95, IOTHREAD),
    )
    assert found == {(RUNQUEUE, Stage.QEMU_AIO): 10 + 3, (WAKEUP, Stage.QEMU_AIO): 15}


def test_a_lock_is_no_wait_for_a_cpu() -> None:
    story = leaves(23, 2, IOTHREAD), woken(24, 99, tid=IOTHREAD), runs(25, IOTHREAD)
    assert waits(NATIVE, *story) == {(RUNQUEUE, Stage.VFS): 1}


def test_an_end_that_was_not_seen() -> None:
    spans: list[Span] = [NATIVE[0], (Stage.QEMU_AIO, (20, IOTHREAD), (110, IOTHREAD))]
    assert waits(spans, leaves(30, PREEMPT, IOTHREAD), runs(60, IOTHREAD)) == {(RUNQUEUE, Stage.QEMU_AIO): 30}


# dm-crypt: the bio of a read is done in an interrupt at 50, and a worker of the kernel decrypts it until 90
CRYPT: list[Span] = [
    (Stage.QEMU_AIO, (20, IOTHREAD), (100, IOTHREAD)),
    (Stage.BLOCK, (24, IOTHREAD), (90, KERNEL_WORKER)),
    (Stage.DEVICE, (25, IOTHREAD), (50, KERNEL)),
]


def test_a_worker_of_the_kernels_that_does_not_run() -> None:
    story = leaves(5, SLEEP, KERNEL_WORKER), woken(51, KERNEL, 8, KERNEL_WORKER), runs(80, KERNEL_WORKER)
    assert waits(CRYPT, *story) == {(RUNQUEUE, Stage.BLOCK): 29}


def test_a_worker_that_another_one_had_to_wake() -> None:
    story = (
        leaves(5, SLEEP, KERNEL_WORKER),
        leaves(6, SLEEP, OTHER_WORKER),
        woken(51, KERNEL, 8, OTHER_WORKER),
        runs(60, OTHER_WORKER),
        woken(65, OTHER_WORKER, tid=KERNEL_WORKER),
        runs(80, KERNEL_WORKER),
    )
    assert waits(CRYPT, *story) == {(RUNQUEUE, Stage.BLOCK): 9 + 15}


def test_whom_an_interrupt_meets_in_the_block_layer_is_nobody() -> None:
    spans = [CRYPT[0], (Stage.BLOCK, (24, IOTHREAD), (90, WORKER)), CRYPT[2]]
    assert waits(spans, leaves(5, SLEEP, WORKER), woken(51, KERNEL, 8, WORKER), runs(80, WORKER)) == {}


# a loop device: its worker takes the request at 40 and does it in a file until 70; the request is done at 80
LOOP: list[Span] = [
    (Stage.QEMU_AIO, (20, IOTHREAD), (100, IOTHREAD)),
    (Stage.BLOCK, (24, IOTHREAD), (80, KERNEL_WORKER)),
    (Stage.DEVICE, (25, IOTHREAD), (80, KERNEL_WORKER)),
    (Stage.LOOP_FS, (40, KERNEL_WORKER), (70, KERNEL_WORKER)),
]


def test_a_loop_devices_worker_on_its_way_to_the_file_and_back() -> None:
    story = (
        leaves(5, SLEEP, KERNEL_WORKER),
        woken(26, IOTHREAD, tid=KERNEL_WORKER),
        runs(36, KERNEL_WORKER),
        leaves(72, PREEMPT, KERNEL_WORKER),
        runs(77, KERNEL_WORKER),
    )
    assert waits(LOOP, *story) == {(RUNQUEUE, Stage.DEVICE): 10 + 5}


def test_a_device_works_whoever_runs() -> None:
    spans = [*LOOP[:2], (Stage.DEVICE, (25, IOTHREAD), (80, KERNEL_WORKER))]
    assert waits(spans, leaves(26, PREEMPT, KERNEL_WORKER), runs(70, KERNEL_WORKER)) == {}
