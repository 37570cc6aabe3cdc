"""The guest of the truth tests: five disks, each made so that a delay can be put into one place below it."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from lab.disk import DiskStats
from lab.guest import Guest, GuestError
from lab.load import KIB, MIB, FioJob
from lab.priority import preferred
from lab.scratch import scratch
from lab.session import Recorder
from lab.targets import Target, xfs_on_loop
from lab.truth import qmp
from lab.truth.shell import SHELL_LOAD, FioRun, PendingFio, Shell
from lab.truth.slowdisk import SlowDisk, slow_disk
from vio.recorder.procfs import read_threads

_PAGE = bytes(range(1, 256)) * 17
_SLOW_BYTES = 400 * MIB
_RAW_BYTES, _RAW_FILLED_BYTES = 64 * MIB, 48 * MIB
_CACHED_BYTES, _CACHED_CLUSTER = 32 * MIB, 8 * KIB
_OVERLAY_BYTES, _OVERLAY_FILLED_BYTES = 16 * MIB, 8 * MIB
_POOLED_BYTES = 16 * MIB
_BUFFERED_BYTES = 16 * MIB
_THROTTLE_GROUP = "throttle0"
_BUSY_IOS, _BUSY_LIMIT_S = 12, 10.0  # a file system writes a few blocks of its own

Node = dict[str, object]

PLAIN, SLOW, CACHED, OVERLAY, POOLED, BUFFERED = range(6)
"""The disks: qcow2 under a throttle filter on XFS; raw on the slow disk; qcow2 with an L2 cache of two slices, on the
slow disk; qcow2 on XFS with a backing file on the slow disk; raw on the slow disk by QEMU's worker threads, and through
the page cache."""

FILLED_BYTES = {
    PLAIN: 64 * MIB,
    SLOW: _RAW_FILLED_BYTES,
    CACHED: _CACHED_BYTES,
    OVERLAY: _OVERLAY_FILLED_BYTES,
    POOLED: _POOLED_BYTES,
    BUFFERED: _BUFFERED_BYTES,
}
"""How much of each disk has been written: what lies behind is a hole, or the backing file's."""
L2_SLICE_BYTES = 512 // 8 * _CACHED_CLUSTER
"""The part of the disk CACHED that one slice of L2 table covers."""
OVERLAY_CLUSTER = 64 * KIB


@dataclass(frozen=True, slots=True)
class Scene:
    """A guest that is being recorded and waits for commands, and what lies below it."""

    guest: Guest
    shell: Shell
    fast: Target
    slow: SlowDisk
    images: tuple[Path, ...]
    iothreads: tuple[int, ...]
    vcpu: int

    def qmp(self, name: str, /, **arguments: object) -> object:
        """Have QEMU execute a command."""
        return qmp.command(self.guest.qmp_socket, name, **arguments)

    def workers(self) -> tuple[int, ...]:
        """Give the ids of QEMU's worker threads."""
        threads = read_threads(Path("/proc", str(self.guest.pid)))
        return tuple(thread.tid for thread in threads if thread.role == "worker")

    def reads(self, disk: int, count: int, *, depth: int = 1, rate: int = 0, span_bytes: int = 0) -> PendingFio:
        """Begin random 4 KiB reads of what has been written of a disk.

        A `depth` above 1 is as many processes: one that has several in flight reaps its last ones all together, and
        says that each took until then.
        """
        job = FioJob("randread", count // depth, depth=1, rate=rate, span_bytes=span_bytes or FILLED_BYTES[disk])
        several = {"numjobs": depth, "group_reporting": 1} if depth > 1 else {}
        return self.shell.begin_fio(job, filename=device(disk), **several)

    def wait_until_busy(self, disk: int) -> None:
        """Wait until the load that has just been begun reaches the device below a disk."""
        device = self.fast.devices[0] if disk == PLAIN else self.slow.name
        before, deadline_s = DiskStats.of_device(device).io_count, time.monotonic() + _BUSY_LIMIT_S
        while DiskStats.of_device(device).io_count < before + _BUSY_IOS:
            if time.monotonic() > deadline_s:
                raise GuestError(f"the guest's load does not reach {device}")
            time.sleep(0.005)

    def writes(self, disk: int, count: int, *, rate: int = 0, flush_every: int = 0) -> PendingFio:
        """Begin random 4 KiB writes over what has been written of a disk."""
        job = FioJob("randwrite", count, depth=1, rate=rate, span_bytes=FILLED_BYTES[disk], flush_every=flush_every)
        return self.shell.begin_fio(job, filename=device(disk))

    def fresh_writes(self, disk: int, count: int, *, gap_bytes: int = 0, flush_every: int = 0) -> FioRun:
        """Write 4 KiB each, `gap_bytes` apart, where nothing has been written yet."""
        size = count * (4 * KIB + gap_bytes)
        job = FioJob("write", count, depth=1, offset_bytes=FILLED_BYTES[disk], flush_every=flush_every)
        rw = f"write:{gap_bytes // KIB}k" if gap_bytes else "write"
        return self.shell.fio(job, filename=device(disk), rw=rw, size=size)


def device(disk: int) -> str:
    """Name a disk in the guest."""
    return f"/dev/vd{ascii_lowercase[disk]}"


def set_throttle(scene: Scene, iops: int) -> None:
    """Set the throttle filter above the disk PLAIN; 0 is no limit."""
    scene.qmp("qom-set", path=f"/objects/{_THROTTLE_GROUP}", property="limits", value={"iops-total": iops})


@contextlib.contextmanager
def opened(recording: Path) -> Iterator[Scene]:
    """Boot the guest and record it, until the context is left."""
    with running(lambda pid: Recorder(pid, recording)) as scene:
        yield scene
        time.sleep(0.2)  # the last notification is after fio's end


@contextlib.contextmanager
def running(watched: Callable[[int], AbstractContextManager[object]] = contextlib.nullcontext) -> Iterator[Scene]:
    """Boot the guest; what `watched` gives for its process is entered before the guest goes."""
    with (
        preferred(),
        scratch("truth") as folder,
        xfs_on_loop() as fast,
        slow_disk(folder, "ext4", _SLOW_BYTES) as slow,
    ):
        images = _make_images(fast.directory, slow.directory)
        guest = Guest([], SHELL_LOAD, name="truth", wait_for_go=True, extra_arguments=_arguments(images))
        with guest, watched(guest.pid):
            guest.go()
            tids = qmp.iothread_tids(guest.qmp_socket)
            iothreads = tuple(tids[f"iothread{disk}"] for disk in range(len(images)))
            vcpu = qmp.vcpu_tids(guest.qmp_socket)[0]
            with Shell(guest) as shell:
                yield Scene(guest, shell, fast, slow, images, iothreads, vcpu)


def _make_images(fast: Path, slow: Path) -> tuple[Path, ...]:
    raw, backing, source = slow / "raw.img", slow / "backing.img", fast / "source.img"
    pooled = slow / "pooled.img"
    buffered = slow / "buffered.img"
    _fill(buffered, _BUFFERED_BYTES)
    _fill(raw, _RAW_FILLED_BYTES)
    with raw.open("r+b") as file:
        file.truncate(_RAW_BYTES)
    _fill(backing, _OVERLAY_BYTES)
    _fill(pooled, _POOLED_BYTES)
    _fill(source, FILLED_BYTES[PLAIN])
    plain, cached, overlay = fast / "plain.qcow2", slow / "cached.qcow2", fast / "overlay.qcow2"
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(source), str(plain))
    with source.open("r+b") as file:
        file.truncate(_CACHED_BYTES)
    small = f"cluster_size={_CACHED_CLUSTER}"
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", small, "-t", "none", str(source), str(cached))
    source.unlink()
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "raw", str(overlay))
    _run("qemu-io", "-c", f"write -P 7 0 {_OVERLAY_FILLED_BYTES}", str(overlay))
    _run("sync", "-f", str(slow), str(fast))
    return plain, raw, cached, overlay, pooled, buffered


def _fill(path: Path, size: int) -> None:
    pattern = (_PAGE * (MIB // len(_PAGE) + 1))[:MIB]
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(pattern)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _arguments(images: tuple[Path, ...]) -> list[str]:
    plain, raw, cached, overlay, pooled, buffered = images
    backing: Node = {"driver": "raw", "read-only": True, "file": _file(raw.with_name("backing.img"), read_only=True)}
    top: dict[int, Node] = {
        PLAIN: {"driver": "throttle", "throttle-group": _THROTTLE_GROUP, "file": _qcow2(plain)},
        SLOW: {"driver": "raw", **_DIRECT, "file": _file(raw)},
        CACHED: {**_qcow2(cached), "l2-cache-entry-size": 512, "l2-cache-size": 1024},
        OVERLAY: {**_qcow2(overlay), "backing": backing},
        POOLED: {"driver": "raw", **_DIRECT, "file": {**_file(pooled), "aio": "threads"}},
        BUFFERED: {"driver": "raw", "file": {"driver": "file", "filename": str(buffered), "aio": "threads"}},
    }
    words = ["-object", f"throttle-group,id={_THROTTLE_GROUP}"]
    for disk, node in top.items():
        words += ["-blockdev", json.dumps({"node-name": f"disk{disk}", **node})]
        words += ["-object", f"iothread,id=iothread{disk}"]
        words += ["-device", f"virtio-blk-pci,drive=disk{disk},id=virtio{disk},iothread=iothread{disk},num-queues=1"]
    return words


_DIRECT: Node = {"cache": {"direct": True}, "detect-zeroes": "off", "discard": "unmap"}


def _qcow2(path: Path) -> Node:
    return {"driver": "qcow2", **_DIRECT, "file": _file(path)}


def _file(path: Path, *, read_only: bool = False) -> Node:
    return {"driver": "file", "filename": str(path), "aio": "native", "read-only": read_only, "cache": {"direct": True}}
