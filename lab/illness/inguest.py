"""Illnesses below a guest's disks, each recorded by itself: the guest of the truth tests, with its slow disk."""

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.load import KIB, FioJob
from lab.session import Recorder
from lab.truth.cgroup import reads_limited
from lab.truth.hog import hogging, pinned
from lab.truth.injections.host import extend, one_at_a_time
from lab.truth.scene import (
    CACHED,
    FILLED_BYTES,
    OVERLAY,
    OVERLAY_CLUSTER,
    PLAIN,
    POOLED,
    SLOW,
    Scene,
    device,
    running,
    set_throttle,
)
from lab.truth.shell import fio_words

_LIMIT_IOPS = 40
_HOLD_MS = 120.0
_NEVER_MS = 1e7
_HANGS_S = 2.5


@dataclass(frozen=True, slots=True)
class Illness:
    """One illness: its recording's name, the disks that have it, what makes it while that is recorded, what ends it."""

    name: str
    disks: tuple[int, ...]
    play: Callable[[Scene], None]
    heal: Callable[[Scene], None] = lambda scene: None


def record(names: frozenset[str], directory: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Record those that are named, each for itself; give each, and where its images were, when it is there."""
    chosen = [one for one in ILLNESSES if one.name in names]
    if not chosen:
        return
    with running() as scene:
        for one in chosen:
            path = directory / f"{one.name}.vio"
            options = [word for disk in one.disks for word in ("--disk", f"virtio{disk}")]
            try:
                with Recorder(scene.guest.pid, path, *options):
                    one.play(scene)
                    time.sleep(0.2)  # the last notification is after fio's end
            finally:
                one.heal(scene)
            yield path, (scene.fast.directory, scene.slow.directory, scene.slow.directory.parent)


def _healthy(scene: Scene) -> None:
    with scene.slow.slowed(read_ms=1, write_ms=1):
        scene.reads(SLOW, 60, rate=100).finish()
        scene.writes(SLOW, 60, rate=100).finish()


def _l2_cache(scene: Scene) -> None:
    with scene.slow.slowed(read_ms=10):
        scene.reads(CACHED, 48).finish()


def _copy_on_write(scene: Scene) -> None:
    with scene.slow.slowed(read_ms=10):
        scene.fresh_writes(OVERLAY, 32, gap_bytes=OVERLAY_CLUSTER - 4 * KIB)


def _qemu_throttle(scene: Scene) -> None:
    set_throttle(scene, _LIMIT_IOPS)
    try:
        scene.reads(PLAIN, 80, depth=4).finish()
    finally:
        set_throttle(scene, 0)


def _cgroup_throttle(scene: Scene) -> None:
    with reads_limited(scene.guest.pid, scene.fast.devices[0], _LIMIT_IOPS):
        scene.reads(PLAIN, 80, depth=4).finish()


def _flush_journal(scene: Scene) -> None:
    with scene.slow.slowed(write_ms=20):
        scene.fresh_writes(SLOW, 12, flush_every=1)


def _host_queue(scene: Scene) -> None:
    with one_at_a_time(scene.slow.name), scene.slow.slowed(read_ms=3):
        scene.reads(SLOW, 96, depth=8).finish()


def _slow_device(scene: Scene) -> None:
    with scene.slow.slowed(read_ms=25):
        scene.reads(SLOW, 40).finish()


def _inode_lock(scene: Scene) -> None:
    with scene.slow.slowed(write_ms=_HOLD_MS):
        pending = scene.reads(SLOW, 60)
        for _ in range(6):
            extend(scene.images[SLOW])
        pending.finish()


def _hogged(scene: Scene) -> None:
    other, cpu = sorted(os.sched_getaffinity(0))[:2]
    with contextlib.ExitStack() as stack:
        stack.enter_context(scene.slow.slowed(read_ms=2))
        stack.enter_context(scene.slow.bound_to(other))
        stack.enter_context(pinned(scene.iothreads[SLOW], cpu))
        stack.enter_context(hogging(cpu, 60, 20))
        scene.reads(SLOW, 40).finish()


def _misaligned(scene: Scene) -> None:
    job = FioJob("randwrite", 150, io_bytes=KIB // 2 * 3, depth=1, span_bytes=4 * KIB * KIB)
    scene.shell.begin_fio(job, filename=device(PLAIN), blockalign=512).finish()


def _merges_missed(scene: Scene) -> None:
    with scene.slow.slowed(read_ms=1):
        scene.shell.begin_fio(FioJob("read", 160, depth=8, span_bytes=4 * KIB * KIB), filename=device(SLOW)).finish()


def _deep_queue(scene: Scene) -> None:
    job = FioJob("randread", 240, depth=64, span_bytes=FILLED_BYTES[SLOW])
    with scene.slow.slowed(read_ms=1):
        scene.shell.begin_fio(job, filename=device(SLOW)).finish()


def _hung(scene: Scene) -> None:
    """Read from two disks on a device that does not answer: by io_submit, and by worker threads."""
    scene.slow.set_delay(read_ms=_NEVER_MS, write_ms=_NEVER_MS)
    for disk in (SLOW, POOLED):
        job = FioJob("randread", 3, depth=3, span_bytes=FILLED_BYTES[disk])
        scene.shell.begin(f"{shlex.join(fio_words(job, {'filename': device(disk)}))} >/dev/null &")
    time.sleep(_HANGS_S)


def _answered(scene: Scene) -> None:
    scene.slow.set_delay()


ILLNESSES = (
    Illness("healthy", (SLOW,), _healthy),
    Illness("l2-cache", (CACHED,), _l2_cache),
    Illness("copy-on-write", (OVERLAY,), _copy_on_write),
    Illness("qemu-throttle", (PLAIN,), _qemu_throttle),
    Illness("cgroup-throttle", (PLAIN,), _cgroup_throttle),
    Illness("flush-journal", (SLOW,), _flush_journal),
    Illness("host-queue", (SLOW,), _host_queue),
    Illness("slow-device", (SLOW,), _slow_device),
    Illness("inode-lock", (SLOW,), _inode_lock),
    Illness("hogged-iothread", (SLOW,), _hogged),
    Illness("misaligned", (PLAIN,), _misaligned),
    Illness("merges-missed", (SLOW,), _merges_missed),
    Illness("hung", (SLOW, POOLED), _hung, _answered),
    Illness("deep-queue", (SLOW,), _deep_queue),
)
"""Those that this makes, in order."""
