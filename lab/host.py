"""A whole KVM host to trace: `with Host(disks=[...]) as host: host.run("script")`; it needs no privilege here.

It is a QEMU of its own, its processor emulated, its kernel Debian's with all drivers; its root is this machine's,
read-only, so the checkout and its .venv are there under their own paths. See docs/lab.md.
"""

import compileall
import contextlib
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from lab import initramfs
from lab.hostmachine import HostDisk, Machine, Wire
from vio.errors import HostError, VioError

_POLL_S = 0.02
_STOP_S = 10.0
_BOOT_LIMIT_S = 180.0
_GRACE_S = 30.0
_TIMED_OUT = (124, 137)
_TAIL_LINES = 30
_NEEDED = ("qemu-system-x86_64", "setpriv", "bpftrace", "mkfs.ocfs2", "dmsetup")
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class LabError(VioError):
    """The lab host did not start or is gone, or a script failed on it; the message ends with what was printed."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A script that has ended on a lab host."""

    status: int
    stdout: str
    stderr: str
    seconds: float


class Job:
    """A script that runs on a lab host."""

    def __init__(self, host: "Host", number: int, limit_s: float) -> None:
        self._host = host
        self._base = host.directory / str(number)
        self._limit_s = limit_s
        self._began_s = time.monotonic()
        self._shown = {"out": 0, "err": 0}

    def wait(self, *, check: bool = True, echo: BinaryIO | None = None) -> Ran:
        """Wait for its end; what it prints goes to `echo` meanwhile.

        Raises:
            LabError: it failed and `check` is set, its time was over, or the host is gone.
        """
        status = self._base.with_suffix(".status")
        while not status.exists():
            self._host.check()
            if time.monotonic() > self._began_s + self._limit_s + _GRACE_S:
                raise self._host.error(f"the script has not ended within {self._limit_s:.0f} s")
            self._copy_to(echo)
            time.sleep(_POLL_S)
        self._copy_to(echo)
        ran = Ran(int(status.read_text()), self._text("out"), self._text("err"), time.monotonic() - self._began_s)
        if ran.status in _TIMED_OUT and ran.seconds >= self._limit_s:
            raise LabError(f"the script was ended after {self._limit_s:.0f} s:\n{_tail(ran)}")
        if check and ran.status:
            raise LabError(f"the script ended with exit code {ran.status}:\n{_tail(ran)}")
        return ran

    def check(self) -> None:
        """Raise a LabError if it has ended already, or its host is gone."""
        self._host.check()
        if self._base.with_suffix(".status").exists():
            self.wait()
            raise LabError("the script has ended too early")

    def _text(self, suffix: str) -> str:
        return self._base.with_suffix(f".{suffix}").read_text(errors="replace")

    def _copy_to(self, echo: BinaryIO | None) -> None:
        for suffix in self._shown if echo else ():
            path = self._base.with_suffix(f".{suffix}")
            if echo and path.exists():
                with path.open("rb") as file:
                    file.seek(self._shown[suffix])
                    piece = file.read()
                echo.write(piece)
                echo.flush()
                self._shown[suffix] += len(piece)


class Host:
    """A lab host that is up; leaving the context powers it off.

    Scripts see `directory` under the same path as here: what they leave there is here. All else that they write
    (/tmp, /srv, /mnt, /etc ...) goes when the host does. After `limit_s` the host powers itself off.
    """

    def __init__(
        self,
        disks: Sequence[HostDisk] = (),
        *,
        memory_mib: int = 3072,
        cpus: int = 2,
        nic: Wire | None = None,
        name: str = "lab-host",
        limit_s: int = 1800,
        directory: Path | None = None,
    ) -> None:
        self.machine = Machine(name, tuple(disks), nic, memory_mib, cpus, limit_s)
        self._given_directory = directory
        self._directory: Path | None = None
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._count = 0
        self.boot_s = 0.0
        """Seconds from QEMU's start to the first script."""

    @property
    def directory(self) -> Path:
        """What host and outer machine share; has the console and the sockets, too."""
        if self._directory is None:
            raise LabError("the lab host has not been started")
        return self._directory

    def __enter__(self) -> Self:
        try:
            self.begin()
            self._wait_until_up()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def run(self, script: str, timeout_s: float = 60.0, *, check: bool = True, echo: BinaryIO | None = None) -> Ran:
        """Run a bash script in the checkout's directory, as root, to its end.

        Raises:
            LabError: it failed and `check` is set, its time was over, or the host is gone.
        """
        return self.start(script, timeout_s).wait(check=check, echo=echo)

    def run_module(self, module: str, *arguments: str, timeout_s: float = 300.0, echo: BinaryIO | None = None) -> Ran:
        """Run a Python module of the checkout as `run` does a script."""
        return self.run(shlex.join((sys.executable, "-m", module, *arguments)), timeout_s, echo=echo)

    def start(self, script: str, timeout_s: float = 60.0) -> Job:
        """Begin a script; several may run at the same time."""
        self.check()
        with self._lock:
            self._count += 1
            number = self._count
            (self.directory / f"{number}.sh").write_text(script)
            self._send(f"{number} {timeout_s:g}\n")
        return Job(self, number, timeout_s)

    def check(self) -> None:
        """Raise a LabError if the host is gone."""
        if self._process is None or self._process.poll() is not None:
            raise self.error("the lab host has ended")

    def error(self, message: str) -> LabError:
        """Make an error that ends with the last lines of QEMU and the console."""
        texts = [self.directory / name for name in ("qemu.txt", "console.txt")]
        lines = [line for text in texts if text.exists() for line in text.read_text(errors="replace").splitlines()]
        return LabError("\n".join([message, *lines[-_TAIL_LINES:]]))

    def begin(self) -> None:
        """Start its QEMU, unless that has been done; entering the context then waits until it is up."""
        if self._process is not None:
            return
        check_needs()
        kernel = initramfs.find_host_kernel()
        initramfs.build(initramfs.find_kernel())  # for guests on the host, where the cache is read-only
        for part in ("src", "lab", "recorder", "mappers", "reporter"):
            compileall.compile_dir(initramfs.REPOSITORY / part, quiet=2)
        given = self._given_directory
        folder = given or self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="vio-host-"))
        self._directory = Path(folder).resolve()
        self._directory.mkdir(parents=True, exist_ok=True)
        initrd = self._directory / "initramfs.cpio"
        initrd.write_bytes(self.machine.archive(self._directory, kernel))
        command = self.machine.command(self._directory, initrd, kernel)
        with (self._directory / "qemu.txt").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_until_up(self) -> None:
        began_s = time.monotonic()
        while not (self.directory / "ready").exists():
            self.check()
            if time.monotonic() > began_s + _BOOT_LIMIT_S:
                raise self.error(f"the lab host is not up after {_BOOT_LIMIT_S:.0f} s")
            time.sleep(_POLL_S)
        self.boot_s = time.monotonic() - began_s
        self._channel = self._cleanup.enter_context(socket.socket(socket.AF_UNIX))
        self._channel.settimeout(_STOP_S)
        self._channel.connect(str(self.directory / "agent"))

    def _send(self, line: str) -> None:
        self._channel.sendall(line.encode())

    def end(self) -> None:
        """Power it off, if it runs; what leaving the context does."""
        if self._process is not None:
            self._power_off(self._process)
        self._cleanup.close()

    def _power_off(self, process: subprocess.Popen[bytes]) -> None:
        asks: list[Callable[[], object]] = [process.terminate, process.kill]
        if self.boot_s:
            asks.insert(0, lambda: self._send("quit\n"))
        for ask in asks:
            if process.poll() is not None:
                return
            with contextlib.suppress(OSError):
                ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)


def check_needs() -> None:
    """Raise a HostError if this machine lacks something that a lab host is made of."""
    for tool in _NEEDED:
        if shutil.which(tool, path=_PATH) is None:
            raise HostError(f"the lab host needs {tool}", "run: make setup")
    initramfs.find_host_kernel()
    initramfs.find_kernel()
    initramfs.find_busybox()


def _tail(ran: Ran) -> str:
    return "\n".join([*ran.stdout.splitlines(), *ran.stderr.splitlines()][-_TAIL_LINES:])
