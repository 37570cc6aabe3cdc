"""Run a small Debian guest in QEMU: `with Guest(disks, load) as guest: guest.go(); guest.wait()`."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import cpio, initramfs
from lab.disk import Disk, DiskStats, qemu_arguments
from lab.load import Load
from vio.errors import HostError, VioError

_QEMU = "qemu-system-x86_64"
# no_timer_check: on a busy machine the emulated timer is late, and the kernel would not boot
_KERNEL_WORDS = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check"
_POLL_S = 0.02
_STOP_S = 5.0
_TAIL_LINES = 30


class GuestError(VioError):
    """The guest did not start, did not end, or its load failed; the message ends with its console."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the load as it went, in the guest's seconds since its boot."""

    command: str
    status: int
    begin_s: float
    end_s: float


class Guest:
    """A QEMU whose guest boots, runs `load` on `disks`, reports what its disks did, and powers itself off.

    With `wait_for_go` the guest stands at the ready, idle, until `go()`; entering the context waits for that.
    The `accelerator` is TCG, as the reference machine's /dev/kvm boots no ordinary kernel; a lab host's does.
    Leaving the context ends a QEMU that still runs. After `limit_s` the guest powers itself off.
    Its `directory` (a temporary one if not given) holds console.txt, qemu.txt, and the sockets.
    """

    def __init__(
        self,
        disks: Sequence[Disk],
        load: Load,
        *,
        name: str = "lab",
        memory_mib: int = 512,
        cpus: int = 1,
        wait_for_go: bool = False,
        limit_s: int = 120,
        accelerator: str = "tcg",
        directory: Path | None = None,
        extra_arguments: Sequence[str] = (),
    ) -> None:
        self.disks = tuple(disks)
        self.load = load
        self.name = name
        self._memory_mib = memory_mib
        self._cpus = cpus
        self._wait_for_go = wait_for_go
        self._limit_s = limit_s
        self._accelerator = accelerator
        self._directory = directory
        self._extra_arguments = tuple(extra_arguments)
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline_s = 0.0

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running().pid

    @property
    def directory(self) -> Path:
        """Where the console, QEMU's messages and the sockets are."""
        if self._directory is None:
            raise GuestError("the guest has not been started")
        return self._directory

    @property
    def qmp_socket(self) -> Path:
        """QEMU's monitor, a Unix socket that speaks QMP."""
        return self.directory / "qmp"

    @property
    def console(self) -> str:
        """All that the guest has printed so far."""
        path = self.directory / "console.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def boot_s(self) -> float:
        """Seconds from the start of the guest's kernel to the guest being ready for its load."""
        return float(self._marks("READY")[0])

    @property
    def stats(self) -> dict[str, DiskStats]:
        """What the load did to each disk, {"vda": ...}, by the guest's own count; known when it has ended."""
        before, after = (self._disk_stats(mark) for mark in ("BEFORE", "AFTER"))
        return {disk: after[disk].since(before[disk]) for disk in after}

    @property
    def steps(self) -> list[Step]:
        """The commands of the load that have ended."""
        fields = [line.split() for line in self._marks("STEP")]
        return [Step(self.load.commands[int(i)], int(status), float(b), float(e)) for i, status, b, e in fields]

    def __enter__(self) -> Self:
        try:
            self._start()
            if self._wait_for_go:
                self._wait_for_mark("READY")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def go(self) -> None:
        """Let a guest that stands at the ready begin its load."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(_STOP_S)
            channel.connect(str(self.directory / "go"))
            channel.sendall(b"GO\n")
            self._wait_for_mark("BEGIN")

    def wait_for_load(self) -> dict[str, DiskStats]:
        """Wait for the load to end, before the guest powers off, and give its `stats`; one that failed is an error."""
        try:
            self._wait_for_mark("END")
        finally:
            self._check_load()
        return self.stats

    def wait(self, timeout_s: float | None = None) -> dict[str, DiskStats]:
        """Wait for the guest to power off, and give its `stats`; a load that failed is an error."""
        left_s = self._deadline_s - time.monotonic()
        try:
            self._running().wait(left_s if timeout_s is None else min(timeout_s, left_s))
        except subprocess.TimeoutExpired:
            raise self._error("the guest has not ended in time") from None
        self._check_load()
        return self.stats

    def _start(self) -> None:
        if shutil.which(_QEMU) is None:
            raise HostError(f"{_QEMU} is not installed", "run: make setup")
        kernel = initramfs.find_kernel()
        base = initramfs.build(kernel)
        self._make_directory()
        with (self.directory / "initramfs.cpio").open("wb") as image:
            image.write(base.read_bytes() + self._load_archive(kernel))
        with (self.directory / "qemu.txt").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(kernel.image), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._deadline_s = time.monotonic() + self._limit_s + 2 * _STOP_S

    def _make_directory(self) -> None:
        if self._directory is None:
            folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="vio-lab-"))
            self._directory = Path(folder)
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "console.txt").unlink(missing_ok=True)

    def _load_archive(self, kernel: initramfs.Kernel) -> bytes:
        settings = f"LIMIT_S={self._limit_s}\nWAIT_FOR_GO={int(self._wait_for_go)}\n"
        settings += f"SCSI_DISKS={sum(disk.is_scsi for disk in self.disks)}\n"
        steps = {f"load/{number:03}": f"{command}\n" for number, command in enumerate(self.load.commands)}
        files = {"settings": settings, **steps}
        entries = [cpio.file_entry(f"/lab/{name}", text.encode()) for name, text in files.items()]
        if self.load.drivers:  # what comes later in an initramfs replaces what came before
            order = initramfs.load_order(kernel, (*initramfs.DRIVERS, *self.load.drivers))
            entries += initramfs.module_entries(order)
        return cpio.archive(entries)

    def _command(self, kernel: Path) -> list[str]:
        directory = self.directory
        return [
            *(_QEMU, "-name", f"guest={self.name},debug-threads=on", "-accel", self._accelerator),
            *("-m", str(self._memory_mib), "-smp", str(self._cpus)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(kernel), "-initrd", str(directory / "initramfs.cpio"), "-append", _KERNEL_WORDS),
            *("-chardev", f"file,id=console,path={directory}/console.txt", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=go,path={directory}/go,server=on,wait=off", "-serial", "chardev:go"),
            *("-qmp", f"unix:{directory}/qmp,server=on,wait=off"),
            *qemu_arguments(self.disks),
            *self._extra_arguments,
        ]

    def _wait_for_mark(self, mark: str) -> None:
        while True:
            has_ended = self._running().poll() is not None
            if self._marks(mark):
                return
            if has_ended:
                raise self._error(f"the guest ended before it said {mark}{self._how_ended()}")
            if time.monotonic() > self._deadline_s:
                raise self._error(f"the guest did not say {mark} in time")
            time.sleep(_POLL_S)

    def _marks(self, mark: str) -> list[str]:
        """Give the rest of each whole line that the guest has printed for the host under this mark."""
        return re.findall(rf"VIO-LAB {mark}\b ?([^\r\n]*)\r?\n", self.console)

    def _disk_stats(self, mark: str) -> dict[str, DiskStats]:
        lines = [line.split(maxsplit=1) for line in self._marks(mark)]
        return {name: DiskStats.parse(fields) for name, fields in lines}

    def _check_load(self) -> None:
        failed = [step for step in self.steps if step.status]
        if failed:
            raise self._error(f"a command of the load failed with {failed[0].status}: {failed[0].command}")
        if not self._marks("END"):
            raise self._error(f"the guest ended before its load did{self._how_ended()}")

    def _how_ended(self) -> str:
        status = self._running().poll()
        return f": QEMU was killed by {signal.Signals(-status).name}" if status and status < 0 else ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise GuestError("the guest has not been started")
        return self._process

    def _error(self, message: str) -> GuestError:
        qemu = (self.directory / "qemu.txt").read_text(errors="replace")
        tail = [*qemu.splitlines(), *self.console.splitlines()][-_TAIL_LINES:]
        return GuestError("\n".join([message, *tail]))

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
        self._cleanup.close()
