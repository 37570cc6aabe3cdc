"""Run bpftrace: its own process group, its own end, and its reasons when it does not want to."""

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from vio.errors import HostError
from vio.recorder.dialect import for_version, searches_types

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TICK_S = 0.02
_ASK_AGAIN_S = 5.0
_END_S = 15.0
_ASK_S = 180.0  # an emulated machine takes half a minute to start it
# Die with vio. Linux keeps this signal over an exec; a Python of its own is safe where a function run after fork in a
# process with threads is not. If vio died before the call, the parent is another one already.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys; "
    "ctypes.CDLL(None).prctl(1, 15); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


# bpftrace 0.17 searches all types of the kernel by name for each cast to an integer (FieldAnalyser::visit(Cast&); not
# since 0.18): seconds, and minutes on an emulated processor. A program that needs no types of the kernel is
# given a BTF file without any.
_EMPTY_BTF = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"\0"
_NEEDS_TYPES = re.compile(r"^(?:tracepoint|rawtracepoint|kfunc|kretfunc|fentry|fexit|iter):|\bstruct\b", re.MULTILINE)
_BTF_SETTING = "BPFTRACE_BTF"


@dataclass(frozen=True, slots=True)
class BpftraceOptions:
    """How bpftrace is run: pages of its buffer (a power of two; for each CPU in old versions), entries of a map.

    A `version` that is not known, (), is taken for one of those that need nothing special.
    """

    path: Path
    buffer_pages: int = 4096
    map_entries: int = 65_536
    takes_no_warnings: bool = True
    version: tuple[int, ...] = ()


def environment(options: BpftraceOptions) -> dict[str, str]:
    """Return the settings by their names of before and after bpftrace 0.20, which ignores those it does not know."""
    entries = str(options.map_entries)
    return {
        "BPFTRACE_PERF_RB_PAGES": str(options.buffer_pages),
        "BPFTRACE_MAP_KEYS_MAX": entries,
        "BPFTRACE_MAX_MAP_KEYS": entries,
        "BPFTRACE_MAX_PROBES": "1024",
        "BPFTRACE_MAX_BPF_PROGS": "1024",
        "BPFTRACE_LOG_SIZE": "4000000",
        # what is left in the maps is vio's
        "BPFTRACE_PRINT_MAPS_ON_EXIT": "0",
    }


class Bpftrace:
    """A running bpftrace; leaving the context ends it."""

    def __init__(self, program: Path, log: Path, options: BpftraceOptions) -> None:
        self._log = log
        words = [str(options.path), "-q", "-B", "line", *(["--no-warnings"] if options.takes_no_warnings else [])]
        with log.open("ab") as stderr, _fitted(program, options) as (run, files, settings):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *words, run],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | environment(options) | settings,
                pass_fds=files,
                process_group=0,
            )
        self.pid = self._process.pid
        self.cpu_s = 0.0
        self._fd = _output_of(self._process)
        self.is_eof = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self.kill()
        if self._process.stdout:
            self._process.stdout.close()

    def fileno(self) -> int:
        """Return the descriptor of its output."""
        return self._fd

    def read(self) -> bytes:
        """Return what has come; b"" if nothing has, or if there is no more (`is_eof`)."""
        try:
            piece = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        self.is_eof = not piece
        return piece

    def asks(self) -> Iterator[float]:
        """Ask for the orderly end until it comes: END runs, and prints what stands in the maps.

        Yields how many seconds to read on for. It asks more than once: bpftrace has been seen to sleep over a signal
        until the next one.
        """
        for number, wait_s in ((signal.SIGINT, _ASK_AGAIN_S), (signal.SIGTERM, _END_S)):
            if self.is_eof:
                return
            self._signal(number)
            yield wait_s

    def kill(self) -> None:
        """End it; the kernel takes the probes away."""
        self._signal(signal.SIGKILL)
        self.wait(5.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end and take its CPU time; False if it still runs."""
        deadline = time.monotonic() + timeout_s
        while self._process.returncode is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s = usage.ru_utime + usage.ru_stime
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(_TICK_S)
        return True

    def used_s(self) -> float:
        """Return the CPU time that it has used so far; 0 if it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def why_ended(self) -> str:
        """Return bpftrace's own reason in one line."""
        self.wait(5.0)
        complaint = complaint_in(self._log.read_text(errors="replace"))
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return complaint or f"it ended with {how}"

    def failure(self) -> HostError:
        """Return the error for a bpftrace that ended before its probes were attached."""
        return HostError(f"bpftrace refused the program: {self.why_ended()}", "`vio doctor` shows what this host lacks")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            os.kill(self.pid, number)


def complaint_in(text: str) -> str:
    """Return the line of bpftrace's messages that names the error."""
    lines = [_COLOURS.sub("", line).strip() for line in text.splitlines()]
    # without the right to raise its memory limit bpftrace complains of that first, and goes on
    lines = [line for line in lines if line and "RLIMIT_MEMLOCK" not in line]
    named = [line for line in lines if "ERROR" in line or "FATAL" in line or "rror:" in line]
    return (named or lines or [""])[0][:300]


@contextlib.contextmanager
def _fitted(program: Path, options: BpftraceOptions) -> Iterator[tuple[str, list[int], dict[str, str]]]:
    """Give what to run, and the descriptors and settings for it, as this version of bpftrace wants it.

    One that searches types for each cast finds none where the program needs none.
    """
    text = program.read_text()
    fitted = for_version(text, options.version)
    if searches_types(options.version) and not _NEEDS_TYPES.search(text) and _BTF_SETTING not in os.environ:
        with _in_memory(_EMPTY_BTF) as (descriptor, place):
            yield str(program), [descriptor], {_BTF_SETTING: place}
    elif fitted == text:
        yield str(program), [], {}
    else:
        with _in_memory(fitted.encode()) as (descriptor, place):
            yield place, [descriptor], {}


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[tuple[int, str]]:
    descriptor = os.memfd_create("vio")
    try:
        os.write(descriptor, content)
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def takes_no_warnings(bpftrace: Path) -> bool:
    """Ask whether this bpftrace knows --no-warnings (0.26 prints warnings on stdout, even with -q)."""
    shown = subprocess.run([bpftrace, "--help"], capture_output=True, text=True, check=False, timeout=_ASK_S)
    return "--no-warnings" in shown.stdout + shown.stderr


def _output_of(process: subprocess.Popen[bytes]) -> int:
    if process.stdout is None:
        raise HostError("bpftrace has no output")
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    enlarge_pipe(descriptor)
    return descriptor


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold a megabyte; where we may not (/proc/sys/fs/pipe-max-size), it stays as it is."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
