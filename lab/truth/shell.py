"""Drive a lab guest from the host, one command at a time, and read what fio in it measured."""

import json
import re
import shlex
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

from lab.guest import Guest, GuestError
from lab.load import FioJob, Load

_DONE = re.compile(r"VIO-LAB DONE (\d+)\r?\n")
_POLL_S = 0.01
_CONNECT_LIMIT_S = 5.0

SHELL_LOAD = Load(
    "shell",
    # The guest's init has the port on which the host says GO open as its descriptor 3.
    ('while read -r line <&3 && [ "$line" != END ]; do eval "$line"; echo "VIO-LAB DONE $?"; done',),
)
"""The load of a guest whose commands come from the host."""


@dataclass(frozen=True, slots=True)
class Latency:
    """What fio in the guest says of one kind of IO."""

    count: int
    mean_ns: float
    median_ns: float
    max_ns: int

    @property
    def total_ns(self) -> float:
        """The latencies of all of them, added up."""
        return self.count * self.mean_ns


@dataclass(frozen=True, slots=True)
class FioRun:
    """One run of fio: its time (CLOCK_BOOTTIME of the host), and what it measured."""

    from_ns: int
    to_ns: int
    read: Latency
    write: Latency
    sync: Latency


class Shell:
    """Runs commands in a guest whose load is SHELL_LOAD and that has been told to go."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        # Held open: what the guest has not read when the connection ends is lost.
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.settimeout(_CONNECT_LIMIT_S)
        self._channel.connect(str(guest.directory / "go"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def run(self, command: str, limit_s: float = 30.0) -> str:
        """Run a command, and give what it printed; one that fails is an error."""
        start = len(self._guest.console)
        self.begin(command)
        return self.finish(start, limit_s)

    def begin(self, command: str) -> None:
        """Start a command; `finish` waits for its end."""
        self._channel.sendall(command.encode() + b"\n")

    def finish(self, start: int, limit_s: float) -> str:
        """Wait for the end of the command that was begun when the console was `start` characters long."""
        deadline_s = time.monotonic() + limit_s
        while True:
            text = self._guest.console[start:]
            found = _DONE.search(text)
            if found:
                break
            if time.monotonic() > deadline_s:
                raise GuestError(f"a command in the guest did not end within {limit_s:.0f} s: {text[-500:]}")
            time.sleep(_POLL_S)
        if found[1] != "0":
            raise GuestError(f"a command in the guest failed with {found[1]}: {text[-500:]}")
        return text[: found.start()]

    def fio(self, job: FioJob, **options: object) -> FioRun:
        """Run one fio job, with `options` instead of or beside its own, and give what it measured."""
        pending = self.begin_fio(job, **options)
        return pending.finish()

    def begin_fio(self, job: FioJob, **options: object) -> "PendingFio":
        """Start one fio job; `finish` of what this gives waits for its end."""
        start, from_ns = len(self._guest.console), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.begin(shlex.join(fio_words(job, options)))
        return PendingFio(self, start, from_ns)


@dataclass(frozen=True, slots=True)
class PendingFio:
    """A run of fio that has been started."""

    shell: Shell
    start: int
    from_ns: int

    def finish(self, limit_s: float = 30.0) -> FioRun:
        """Wait for its end."""
        text = self.shell.finish(self.start, limit_s)
        return fio_run(text, self.from_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def fio_words(job: FioJob, options: dict[str, object]) -> list[str]:
    """Give the command line of one job."""
    own = dict(word.removeprefix("--").split("=", 1) for word in job.arguments("job"))
    words = own | {name: str(value) for name, value in options.items()}
    return ["fio", "--randrepeat=1", "--eta=never", "--output-format=json", *(f"--{k}={v}" for k, v in words.items())]


def fio_run(text: str, from_ns: int, to_ns: int) -> FioRun:
    """Read fio's JSON, whatever stands around it."""
    try:
        job = json.loads(text[text.index("{") : text.rindex("}") + 1])["jobs"][0]
        return FioRun(from_ns, to_ns, *(_latency(job[kind]) for kind in ("read", "write", "sync")))
    except (ValueError, KeyError, IndexError) as error:
        raise GuestError(f"fio in the guest printed no result: {error}: {text[-500:]}") from None


def _latency(said: dict[str, dict[str, Any]]) -> Latency:
    whole = said["lat_ns"]
    # fio keeps percentiles of one of the two only; what submitting takes is no matter here
    parts = whole.get("percentile") or said.get("clat_ns", {}).get("percentile", {})
    mean_ns = float(whole.get("mean", 0))
    median_ns = float(parts.get("50.000000", mean_ns))
    return Latency(int(whole.get("N", 0)), mean_ns, median_ns, int(whole.get("max", 0)))
