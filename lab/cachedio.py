"""Writes through the page cache of which all is known: which IO wrote where, what was overwritten, what was synced."""

import contextlib
import fcntl
import os
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.disk import Aio, Cache, DiskStats, Format, make_image
from lab.load import KIB, MIB
from lab.session import Recorder
from lab.targets import Target

_STEP_LIMIT_S = 30
_SLOT_BYTES = 64 * KIB
_SIZES = (4 * KIB, 8 * KIB, 12 * KIB, 28 * KIB, 64 * KIB, 512, 6 * KIB)


@dataclass(slots=True)
class Truth:
    """What was done: (offset, bytes) of each write in order; which of them were overwritten, which left, in the cache.

    `devices` were counted from before the first write to after the flush.
    """

    writes: list[tuple[int, int]] = field(default_factory=list)
    overwritten: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    devices: dict[str, DiskStats] = field(default_factory=dict)


class QemuIo:
    """A `qemu-io` that does what it is told, one thing after the other; ended when it is left."""

    def __init__(
        self,
        image: Path,
        image_format: Format,
        aio: Aio,
        cache: Cache = Cache.WRITEBACK,
        *,
        has_discard: bool = False,
    ) -> None:
        """Open an image."""
        how = ("-t", str(cache), "-i", str(aio), "-f", str(image_format), "-d", "unmap" if has_discard else "ignore")
        # Its answers are waited for, so they must not be kept back.
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", "qemu-io", *how, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def write(self, offset: int, count: int, pattern: int) -> None:
        """Write to the guest's disk, and wait for the answer."""
        self._ask(f"write -P {pattern % 255 + 1} {offset} {count}", "wrote ")

    def write_at_once(self, writes: Iterable[tuple[int, int]]) -> None:
        """Write (offset, bytes) all at once, and wait until all are done."""
        for offset, count in writes:
            self._ask(f"aio_write -q {offset} {count}", "")
        self._ask("aio_flush", "")
        self._ask("read 0 512", "read ")

    def zero(self, offset: int, count: int) -> None:
        """Write zeroes as a guest does that says so."""
        self._ask(f"write -z -u {offset} {count}", "wrote ")

    def discard(self, offset: int, count: int) -> None:
        """Discard, which does nothing unless the image was opened so that it does."""
        self._ask(f"discard {offset} {count}", "discard ")

    def flush(self) -> None:
        """Flush the disk; a small read after it tells when that is done."""
        self._ask("flush", "")
        self._ask("read 0 512", "read ")

    def _ask(self, command: str, answer: str) -> None:
        if self._process.stdin is None or self._process.stdout is None:
            return
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        # It waits for its input to be readable, and then reads one line: a second in its buffer would never be seen.
        while _unread_bytes(self._process.stdin.fileno()) and self._process.poll() is None:
            time.sleep(0.005)
        while answer and answer not in self._process.stdout.readline():
            if self._process.poll() is not None:
                raise RuntimeError(f"qemu-io ended at `{command}`")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate("quit\n", timeout=_STEP_LIMIT_S)


def _unread_bytes(pipe: int) -> int:
    answer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder)


@contextlib.contextmanager
def _opened(image: Path, image_format: Format, aio: Aio) -> Iterator[QemuIo]:
    qemu = QemuIo(image, image_format, aio)
    try:
        yield qemu
    finally:
        qemu.close()


def record_cached(
    target: Target, output: Path, *, image_format: Format = Format.RAW, aio: Aio = Aio.THREADS, count: int = 200
) -> Truth:
    """Record `count` writes synced by another process, as many flushed by QEMU, a tenth overwritten and a tenth left.

    Each write has a place of its own, so that its address on the disk tells which IO it is.
    """
    image = make_image(target.directory / "disk.img", 256 * MIB, image_format)
    truth = Truth()
    with _opened(image, image_format, aio) as qemu, Recorder(qemu.pid, output):
        before = {name: DiskStats.of_device(name) for name in target.devices}
        for number in range(count):
            _write(qemu, truth, number)
        for number in range(0, count, 10):
            truth.overwritten.append(number)
            _write(qemu, truth, number)
        _sync(image)
        for number in range(count, 2 * count):
            _write(qemu, truth, number)
        qemu.flush()
        truth.devices = {name: DiskStats.of_device(name).since(stats) for name, stats in before.items()}
        for number in range(2 * count, 2 * count + count // 10):
            truth.left.append(len(truth.writes))
            _write(qemu, truth, number)
    return truth


def _write(qemu: QemuIo, truth: Truth, number: int) -> None:
    offset, count = number * _SLOT_BYTES, _SIZES[number % len(_SIZES)]
    qemu.write(offset, count, number)
    truth.writes.append((offset, count))


def _sync(image: Path) -> None:
    """Have another process than QEMU write the cache back."""
    descriptor = os.open(image, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
