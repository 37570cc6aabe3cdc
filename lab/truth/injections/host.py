"""Delays in the host's kernel: device, IO scheduler, control group, file system, journal, inode lock."""

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lab.truth.attribution import cell, cells_of
from lab.truth.cgroup import has_io_controller, reads_limited
from lab.truth.play import Injection, Play, all_longer_by, longer_by, now_ns, span
from lab.truth.scene import BUFFERED, PLAIN, POOLED, SLOW, Scene
from lab.truth.sched import lock_waits
from lab.truth.slowserver import READ
from vio.layer import Op, Phase, Stage

_LIMIT_IOPS = 20
_LIMITED_COUNT, _LIMITED_DEPTH = 32, 4
_FREEZE_S = 0.2
_HOLD_MS = 200.0
_SLOW_MS = 25.0
_JOURNAL_MS = 60.0
_DEPTH = 8
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_BLOCK_BYTES = 4096


def _slow_device(scene: Scene) -> Play:
    base = scene.reads(SLOW, 60, rate=200).finish()
    with scene.slow.slowed(read_ms=_SLOW_MS):
        slow = scene.reads(SLOW, 20).finish()
    injected_ns = scene.slow.service_ns(READ, span(slow)) - scene.slow.service_ns(READ, span(base))
    return Play(SLOW, (Op.READ,), span(base), span(slow), injected_ns, is_each=True)


def _cache_miss(scene: Scene) -> Play:
    image = scene.images[BUFFERED]
    _evict(image)
    base = scene.reads(BUFFERED, 60, rate=200).finish()
    _evict(image)
    with scene.slow.slowed(read_ms=_SLOW_MS):
        slow = scene.reads(BUFFERED, 20).finish()
    injected_ns = scene.slow.service_ns(READ, span(slow)) - scene.slow.service_ns(READ, span(base))
    return Play(BUFFERED, (Op.READ,), span(base), span(slow), injected_ns, is_each=True)


def _evict(file: Path) -> None:
    """Have a file's pages leave the page cache."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _deep_queue(scene: Scene) -> Play:
    with one_at_a_time(scene.slow.name), scene.slow.slowed(read_ms=_SLOW_MS):
        base = scene.reads(SLOW, 10).finish()
        slow = scene.reads(SLOW, 32, depth=_DEPTH).finish()
    # Where the device itself was slower than before, that is not the queue's.
    served = [one.service_ns for one in scene.slow.requests(*span(slow)) if one.is_read]
    slower_ns = sum(served) - len(served) * scene.slow.service_ns(READ, span(base))
    return Play(SLOW, (Op.READ,), span(base), span(slow), all_longer_by(base.read, slow.read) - slower_ns)


@contextlib.contextmanager
def one_at_a_time(device: str) -> Iterator[None]:
    """Let BFQ hand one request after the other to a device: all others wait in the scheduler."""
    queue = Path("/sys/block", device, "queue")
    before = (queue / "scheduler").read_text().split("[")[1].split("]")[0]
    try:
        (queue / "scheduler").write_text("bfq")
        (queue / "iosched" / "strict_guarantees").write_text("1")
        yield
    finally:
        (queue / "scheduler").write_text(before)


def _lacks_bfq() -> str:
    schedulers = Path("/sys/block/loop0/queue/scheduler")
    return "" if schedulers.exists() and "bfq" in schedulers.read_text() else "no BFQ scheduler"


def _io_limit(scene: Scene) -> Play:
    base = scene.reads(PLAIN, 100, rate=200).finish()
    with reads_limited(scene.guest.pid, scene.fast.devices[0], _LIMIT_IOPS):
        slow = scene.reads(PLAIN, _LIMITED_COUNT, depth=_LIMITED_DEPTH).finish()
    return Play(PLAIN, (Op.READ,), span(base), span(slow), longer_by(base.read, slow.read), is_each=True)


def _pool_limit(scene: Scene) -> Play:
    base = scene.reads(POOLED, 100, rate=200).finish()
    with reads_limited(scene.guest.pid, scene.slow.name, _LIMIT_IOPS):
        slow = scene.reads(POOLED, _LIMITED_COUNT, depth=_LIMITED_DEPTH).finish()
    return Play(POOLED, (Op.READ,), span(base), span(slow), longer_by(base.read, slow.read), is_each=True)


def _frozen(scene: Scene) -> Play:
    base = scene.writes(PLAIN, 100, rate=200).finish()
    pending = scene.writes(PLAIN, 150, rate=200)
    scene.wait_until_busy(PLAIN)
    with lock_waits(scene.iothreads[PLAIN]) as waits:
        freeze_ns = now_ns()
        with _freeze(scene.fast.directory):
            time.sleep(_FREEZE_S)
        thaw_ns = now_ns()
        pending.finish()
    return Play(PLAIN, (Op.WRITE,), span(base), (freeze_ns, thaw_ns), tuple(waits.intervals))


@contextlib.contextmanager
def _freeze(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(handle, _FITHAW, 0)
    finally:
        os.close(handle)


def _inode_lock(scene: Scene) -> Play:
    base = scene.reads(SLOW, 100, rate=200).finish()
    pending = scene.reads(SLOW, 150, rate=200)
    scene.wait_until_busy(SLOW)
    with lock_waits(scene.iothreads[SLOW]) as waits:
        with scene.slow.slowed(write_ms=_HOLD_MS):
            begin_ns = now_ns()
            extend(scene.images[SLOW])
            end_ns = now_ns()
        pending.finish()
    return Play(SLOW, (Op.READ,), span(base), (begin_ns, end_ns), tuple(waits.intervals))


def extend(file: Path) -> None:
    """Write one block behind the end of a file, directly: ext4 holds the inode's lock until the device has done it."""
    handle = os.open(file, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _BLOCK_BYTES) as block:
            os.pwritev(handle, [block], os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _journal(scene: Scene) -> Play:
    with scene.slow.slowed(write_ms=_JOURNAL_MS):
        scene.writes(SLOW, 2, flush_every=1).finish()  # what earlier writes left to the journal
        base = scene.writes(SLOW, 6, flush_every=1).finish()
        slow = scene.fresh_writes(SLOW, 8, flush_every=1)
    return Play(SLOW, (Op.FLUSH,), span(base), span(slow), all_longer_by(base.sync, slow.sync))


INJECTIONS = (
    Injection(
        "slow-device",
        f"a loop device over a FUSE file that takes {_SLOW_MS} ms for each read",
        cells_of(Stage.DEVICE),
        "the request has been issued to the driver and is not complete",
        "the slow disk's log",
        _slow_device,
    ),
    Injection(
        "cache-miss",
        f"reads through the page cache (cache=writeback, aio=threads) that miss it; {_SLOW_MS} ms each on the device",
        cells_of(Stage.DEVICE),
        "the worker's pread waits for the page that the file system reads",
        "the slow disk's log",
        _cache_miss,
    ),
    Injection(
        "deep-queue",
        f"BFQ with strict_guarantees (one request in the device at a time), {_DEPTH} reads in flight",
        (cell(Stage.BLOCK, Phase.DOWN),),
        "all but one request wait in the IO scheduler: queued, not issued",
        "fio in the guest, less what the slow disk's log has",
        _deep_queue,
        _lacks_bfq,
    ),
    Injection(
        "io-limit",
        f"blkio/io control group of QEMU: {_LIMIT_IOPS} reads a second on the device, {_LIMITED_DEPTH} in flight",
        (cell(Stage.BLOCK, Phase.DOWN),),
        "the bio has been submitted to the block layer, which holds it back",
        "fio in the guest",
        _io_limit,
        lambda: "" if has_io_controller() else "no control group limits IO",
    ),
    Injection(
        "io-limit-threads",
        f"the same, of reads by QEMU's worker threads (aio=threads), {_LIMITED_DEPTH} in flight",
        (cell(Stage.BLOCK, Phase.DOWN),),
        "the bio has been submitted to the block layer, which holds it back, and the worker waits",
        "fio in the guest",
        _pool_limit,
        lambda: "" if has_io_controller() else "no control group limits IO",
    ),
    Injection(
        "frozen-fs",
        f"FIFREEZE and, {_FREEZE_S * 1e3:.0f} ms later, FITHAW of the image's XFS, under writes",
        (cell(Stage.VFS, Phase.DOWN),),
        "a write waits for the thaw at its entry (kiocb_start_write), before the file system sees it",
        "lock:contention_begin and _end of the iothread",
        _frozen,
    ),
    Injection(
        "inode-lock",
        f"another process extends the image by a direct write that takes {_HOLD_MS:.0f} ms: ext4 holds i_rwsem",
        cells_of(Stage.FS),
        "ext4_dio_read_iter waits for inode_lock_shared: the file system's code",
        "lock:contention_begin and _end of the iothread",
        _inode_lock,
    ),
    Injection(
        "journal",
        f"flushes after writes that allocated blocks; each write of the device takes {_JOURNAL_MS} ms",
        cells_of(Stage.FS),
        "fdatasync waits in ext4 for the journal's commit, which the journal's thread writes",
        "fio in the guest: latency of its syncs",
        _journal,
    ),
)
