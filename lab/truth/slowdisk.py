"""A block device whose every request takes a set time: a loop device over a FUSE file (lab/truth/slowserver.py)."""

import contextlib
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from lab.initramfs import REPOSITORY
from lab.targets import loop, mounted
from lab.truth.slowserver import CONTROL, LOGGED, READ, WRITE
from vio.errors import HostError

_START_LIMIT_S = 10.0
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the device had it; times are CLOCK_BOOTTIME."""

    operation: int
    offset: int
    bytes: int
    came_ns: int
    went_ns: int

    @property
    def service_ns(self) -> int:
        """How long the device took."""
        return self.went_ns - self.came_ns

    @property
    def is_read(self) -> bool:
        """Tell reads from all else."""
        return self.operation == READ

    @property
    def is_write(self) -> bool:
        """Tell writes from all else."""
        return self.operation == WRITE


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """A device `name` (loopN) on which a file system is mounted at `directory`."""

    name: str
    directory: Path
    server_pid: int
    _control: mmap.mmap = field(repr=False)
    _log: Path = field(repr=False)

    def set_delay(self, *, read_ms: float = 0, write_ms: float = 0) -> None:
        """Let each later request take this long; requests are served one after the other."""
        self._control[: CONTROL.size] = CONTROL.pack(int(read_ms * _MS), int(write_ms * _MS))

    @contextlib.contextmanager
    def slowed(self, *, read_ms: float = 0, write_ms: float = 0) -> Iterator[None]:
        """Be slow for a while."""
        self.set_delay(read_ms=read_ms, write_ms=write_ms)
        try:
            yield
        finally:
            self.set_delay()

    def service_ns(self, operation: int, during: tuple[int, int]) -> int:
        """Give the median time that requests took."""
        return round(median(one.service_ns for one in self.requests(*during) if one.operation == operation))

    def extra_ns(self, operation: int, during: tuple[int, int], io_count: int, *, own: int = 1) -> int:
        """Give the time that each of `io_count` IOs made the disk work for beyond its `own` requests."""
        requests = sum(one.operation == operation for one in self.requests(*during))
        return round(self.service_ns(operation, during) * (round(requests / io_count) - own))

    @contextlib.contextmanager
    def bound_to(self, cpu: int) -> Iterator[None]:
        """Keep what makes this disk, its server and the loop device's workers, on one CPU for a while."""
        workers = Path("/sys/devices/virtual/workqueue/cpumask")
        workers_before, server_before = workers.read_text().strip(), os.sched_getaffinity(self.server_pid)
        try:
            workers.write_text(f"{1 << cpu:x}")
            os.sched_setaffinity(self.server_pid, {cpu})
            yield
        finally:
            os.sched_setaffinity(self.server_pid, server_before)
            workers.write_text(workers_before)

    def requests(self, from_ns: int = 0, to_ns: int = 1 << 62) -> list[Request]:
        """Give the requests that came in a stretch of time (CLOCK_BOOTTIME)."""
        content = self._log.read_bytes()
        whole = len(content) // LOGGED.size * LOGGED.size
        every = (Request(*fields) for fields in LOGGED.iter_unpack(content[:whole]))
        return [one for one in every if from_ns <= one.came_ns <= to_ns]


@contextlib.contextmanager
def slow_disk(scratch: Path, kind: str, size_bytes: int) -> Iterator[SlowDisk]:
    """Make a slow disk with a file system of `kind` (ext4, xfs) on it; it starts without delay."""
    with _server(scratch, size_bytes) as (file, server_pid, control, log), loop(file, is_direct=False) as device:
        quiet = {"ext4": ("-q", "-F", "-E", "nodiscard,lazy_itable_init=0"), "xfs": ("-q", "-f", "-K")}[kind]
        subprocess.run((f"mkfs.{kind}", *quiet, device), check=True, capture_output=True, timeout=60)
        with mounted(device, scratch / "slow", kind, "nodiscard,noatime") as directory:
            yield SlowDisk(Path(device).name, directory, server_pid, control, log)


@contextlib.contextmanager
def _server(scratch: Path, size_bytes: int) -> Iterator[tuple[Path, int, mmap.mmap, Path]]:
    file, control, log = (scratch / name for name in ("slow.img", "slow.control", "slow.log"))
    file.touch()
    control.write_bytes(bytes(CONTROL.size))
    log.touch()
    words = (str(file), str(size_bytes), str(control), str(log))
    with control.open("r+b") as shared:
        delays = mmap.mmap(shared.fileno(), CONTROL.size)
    process = subprocess.Popen((sys.executable, "-m", "lab.truth.slowserver", *words), cwd=REPOSITORY)
    try:
        _wait_until_mounted(process, file, size_bytes)
        yield file, process.pid, delays, log
    finally:
        subprocess.run(("umount", str(file)), check=False, capture_output=True, timeout=30)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _wait_until_mounted(process: "subprocess.Popen[bytes]", file: Path, size_bytes: int) -> None:
    deadline_s = time.monotonic() + _START_LIMIT_S
    while file.stat().st_size != size_bytes:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise HostError("the slow disk's server did not start", "be root, with /dev/fuse")
        time.sleep(0.02)
