"""Injections for a lab host; there it runs as `python -m lab.truth.onhost NAME DEVICE DIRECTORY`.

There is no guest here: qemu-io reads one block after the other, and says how long each took. That is the truth. A
lab host is slow (its processor is emulated), so the delays are long.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.load import KIB, MIB
from lab.session import Recorder
from lab.truth.hog import hogging
from lab.volumes import PLACE, FileSystem, Stack, volume
from vio.errors import VioError

_IMAGE_BYTES = 16 * MIB
_DELAY_MS = 300  # so long that what else a slow host does from read to read is little beside it
_COUNT = 20
_ROUNDS = 2  # the machine is not as busy at all times
_HOGGED_CPU, _HOGGED_COUNT = 1, 60
_HOG_BUSY_MS, _HOG_IDLE_MS, _HOG_LIMIT_S = 300.0, 30.0, 120.0
_UNBOUND = Path("/sys/devices/virtual/workqueue/cpumask")
HOGGED_KERNEL_WORKER = "hogged-kernel-worker"
WANTED, BEGUN = "wanted", "begun"
"""Files by which the other node is asked to write, and says that it does."""
_RATE = re.compile(r"and ([\d.]+) ops/sec")  # more exact than the seconds, which have two decimals
_STEP_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads that qemu-io has done one by one: when (CLOCK_BOOTTIME), and how long each took by its own clock."""

    from_ns: int
    to_ns: int
    took_ns: tuple[int, ...]


class QemuIo:
    """A qemu-io that waits for commands on an image."""

    def __init__(self, image: Path) -> None:
        words = ("stdbuf", "-oL", "qemu-io", "-f", "raw", "-t", "none", "-i", "native", str(image))
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def reads(self, count: int, step_bytes: int = 64 * KIB) -> Reads:
        """Read `count` blocks of 4 KiB, one after the other."""
        from_ns = _now_ns()
        took = tuple(self._read(number * step_bytes) for number in range(count))
        time.sleep(0.1)
        return Reads(from_ns, _now_ns(), took)

    def end(self) -> None:
        """Let it go."""
        self._process.communicate("quit\n", timeout=_STEP_LIMIT_S)

    def _read(self, offset: int) -> int:
        if self._process.stdin is None or self._process.stdout is None:
            raise VioError("qemu-io has no pipes")
        self._process.stdin.write(f"read {offset} 4k\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if found := _RATE.search(line):
                return round(1e9 / float(found[1]))
        raise VioError("qemu-io has ended")


@contextlib.contextmanager
def delayed_device(device: str) -> Iterator[Callable[[int], None]]:
    """Put a dm-delay over `device` and mount an ext4 from it on /mnt; gives a function that sets its milliseconds."""
    for module in ("nvme", "dm-delay"):
        _run("modprobe", module)
    _wait_for(Path(device))
    sectors = _run("blockdev", "--getsz", device).strip()

    def table(delay_ms: int) -> str:
        return f"0 {sectors} delay {device} 0 {delay_ms}"

    def set_delay(delay_ms: int) -> None:
        _run("dmsetup", "suspend", "truth")
        _run("dmsetup", "reload", "truth", "--table", table(delay_ms))
        _run("dmsetup", "resume", "truth")

    _run("dmsetup", "create", "truth", "--table", table(0))
    try:
        _run("mkfs.ext4", "-q", "-F", "/dev/mapper/truth")
        _run("mount", "-o", "noatime", "/dev/mapper/truth", "/mnt")
        try:
            yield set_delay
        finally:
            set_delay(0)
            _run("umount", "/mnt")
    finally:
        _run("dmsetup", "remove", "truth")


def dm_delay(device: str, directory: Path) -> dict[str, object]:
    """Record reads of an image on ext4 on dm-delay, without and with the delay; give when they were, and how long."""
    recording = directory / "dm-delay.vio"
    base: list[Reads] = []
    slow: list[Reads] = []
    with delayed_device(device) as set_delay:
        image = Path("/mnt/image.raw")
        image.write_bytes(b"vio." * (_IMAGE_BYTES // 4))
        _run("sync")
        qemu_io = QemuIo(image)
        try:
            qemu_io.reads(2)
            with Recorder(qemu_io.pid, recording):
                for number in range(_ROUNDS):
                    set_delay(0)
                    base.append(qemu_io.reads(_COUNT, (64 + number) * KIB))
                    set_delay(_DELAY_MS)
                    slow.append(qemu_io.reads(_COUNT, (68 + number) * KIB))
        finally:
            qemu_io.end()
    return told(base, slow)


def cluster_lock(_: str, directory: Path) -> dict[str, object]:
    """Record reads of an image on a cluster's volume, while the other node is idle, and while it writes to the image.

    Each read wants the inode's lock shared, which the other has taken for its writes: it gives it up when it has
    written what it has, to a slow disk. `outside.py` has it begin when `wanted` is there, and makes `begun`.
    """
    image = PLACE / "image.raw"
    image.write_bytes(b"vio." * (_IMAGE_BYTES // 4))
    _run("sync")
    qemu_io = QemuIo(image)
    try:
        qemu_io.reads(2)
        with Recorder(qemu_io.pid, directory / "cluster-lock.vio"):
            base = qemu_io.reads(_COUNT)
            (directory / WANTED).touch()
            _wait_for(directory / BEGUN)
            slow = qemu_io.reads(_COUNT, 68 * KIB)
            (directory / WANTED).unlink()
    finally:
        qemu_io.end()
    return told([base], [slow])


def hogged_kernel_worker(_: str, directory: Path) -> dict[str, object]:
    """Record reads of an image on dm-crypt, and the same while a hog has the CPU of the kernel's unbound workers.

    What has been read is decrypted by a worker of dm-crypt's, which then could run and does not.
    """
    with volume(Stack.CRYPT, FileSystem.EXT4) as place, _unbound_workers_on(_HOGGED_CPU):
        image = place.directory / "image.raw"
        image.write_bytes(b"vio." * (_IMAGE_BYTES // 4))
        _run("sync")
        qemu_io = QemuIo(image)
        try:
            os.sched_setaffinity(qemu_io.pid, {0})
            qemu_io.reads(2)
            with Recorder(qemu_io.pid, directory / f"{HOGGED_KERNEL_WORKER}.vio"):
                base = qemu_io.reads(_COUNT)
                with hogging(_HOGGED_CPU, _HOG_BUSY_MS, _HOG_IDLE_MS, _HOG_LIMIT_S):
                    slow = qemu_io.reads(_HOGGED_COUNT, 68 * KIB)
        finally:
            qemu_io.end()
    return told([base], [slow])


@contextlib.contextmanager
def _unbound_workers_on(cpu: int) -> Iterator[None]:
    """Have those of the kernel's workers that are bound to no CPU run on one, for a while."""
    before = _UNBOUND.read_text()
    _UNBOUND.write_text(f"{1 << cpu:x}")
    try:
        yield
    finally:
        _UNBOUND.write_text(before)


def told(base: list[Reads], slow: list[Reads]) -> dict[str, object]:
    """Say what was read without and with the delay, as JSON has it."""
    return {"base": [asdict(one) for one in base], "slow": [asdict(one) for one in slow]}


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + _STEP_LIMIT_S
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _run(*command: str) -> str:
    # There is no udev on a lab host: dmsetup makes the nodes itself.
    environment = os.environ | {"DM_DISABLE_UDEV": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment).stdout


ON_HOST: dict[str, Callable[[str, Path], dict[str, object]]] = {
    "dm-delay": dm_delay,
    "cluster-lock": cluster_lock,
    HOGGED_KERNEL_WORKER: hogged_kernel_worker,
}
"""The injections by their names."""


def main(name: str, device: str, directory: str) -> int:
    """Play one, and leave NAME.vio and what is known of it, NAME.json, in the directory."""
    place = Path(directory)
    (place / f"{name}.json").write_text(json.dumps(ON_HOST[name](device, place)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
