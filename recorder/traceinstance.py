"""One instance of the kernel's trace buffer: a directory under `instances`, its settings, its pages and its counts.

An instance is the kernel's, not a process's: after SIGKILL of vio it stays, and records on until it is full. The next
vio that makes one removes those whose process (its id is in the name) is gone.
"""

import contextlib
import itertools
import os
import re
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio.errors import HostError
from vio.recorder.procfs import HostRoots
from vio.recorder.tracepages import U8

CLOCK = "boot"
_NAME = re.compile(r"vio-(\d+)-\d+")
_STATISTIC = re.compile(r"^([a-z ]+): (\d+)$", re.MULTILINE)
_PAGE_BYTES = resource.getpagesize()
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Counts:
    """The kernel's own counts of one CPU's buffer, in events."""

    stored: int
    lost: int

    @property
    def all(self) -> int:
        """Return how many events there were."""
        return self.stored + self.lost


class TraceInstance:
    """Make an instance that is switched off; `close` takes it away.

    Raises:
        HostError: the kernel does not let us.
    """

    def __init__(self, tracefs: Path, buffer_kb: int) -> None:
        self.directory = _make(tracefs)
        try:
            self.set("tracing_on", "0")
            self.set("trace_clock", CLOCK)
            self.set("options/overwrite", "0")
            self.set("buffer_size_kb", str(buffer_kb))
            self.page_bytes = self._page_bytes()
            self._files = self._open()
        except BaseException:
            self.directory.rmdir()
            raise
        self.pages_of_cpu = max(1, buffer_kb * 1024 // self.page_bytes)
        self._room = np.empty((max(16, self.pages_of_cpu), self.page_bytes), np.uint8)
        self._lengths = self._room.view("<u4")[:, 2]

    @property
    def cpus(self) -> list[int]:
        """Return the CPUs that have a buffer."""
        return list(self._files)

    def set(self, name: str, value: str) -> None:
        """Write one setting, or add to a list."""
        try:
            # not truncated: that would clear set_event_pid
            file = os.open(self.directory / name, os.O_WRONLY)
            try:
                os.write(file, value.encode())
            finally:
                os.close(file)
        except OSError as error:
            raise HostError(f"{self.directory / name} does not take {value[:60]!r}: {error.strerror}") from error

    def follow(self, tids: Iterable[int]) -> None:
        """Let only these threads, the ones before, and what they fork have events."""
        text = " ".join(map(str, tids))
        if text:
            self.set("set_event_pid", text)

    def event_id(self, system: str, event: str) -> int:
        """Return the number that an event's records have."""
        try:
            return int((self.directory / "events" / system / event / "id").read_text())
        except (OSError, ValueError) as error:
            raise HostError(f"the kernel has no tracepoint {system}:{event}") from error

    def drain(self, cpu: int, is_last: bool) -> U8:
        """Return all pages that a CPU's buffer holds now, the last one in part."""
        file, room, parts, count = self._files[cpu], self._room, [], 0
        with contextlib.suppress(BlockingIOError):
            while os.readv(file, [room[count]]) == self.page_bytes:
                count += 1
                # Each read may give a page with the one event that has come since the one before: stop at such a page.
                # The first is the rest of a page that was read in part.
                if count > 1 and not is_last and self._lengths[count - 1] < self.page_bytes // 2:
                    break
                if count == len(room):
                    parts.append(room.copy())
                    count = 0
        return np.concatenate([*parts, room[:count]])

    def counts(self, cpu: int) -> Counts:
        """Return the kernel's counts of one CPU."""
        text = (self.directory / "per_cpu" / f"cpu{cpu}" / "stats").read_text()
        found = {name: int(value) for name, value in _STATISTIC.findall(text)}
        lost = found["overrun"] + found["commit overrun"] + found["dropped events"]
        return Counts(found["entries"] + found["read events"], lost)

    def close(self) -> None:
        """Remove the instance with all that is in it; that switches its events off.

        If somebody else has a file of it open it stays, switched off, for the next vio to remove.
        """
        for file in self._files.values():
            os.close(file)
        self._files = {}
        try:
            self.directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            with contextlib.suppress(HostError):
                self.set("tracing_on", "0")
                self.set("events/enable", "0")

    def _page_bytes(self) -> int:
        # Linux commit 2808e31ec12e ("ring-buffer: Add interface for configuring trace sub buffer size") (in v6.8)
        try:
            return int((self.directory / "buffer_subbuf_size_kb").read_text()) * 1024
        except FileNotFoundError:
            return _PAGE_BYTES

    def _open(self) -> dict[int, int]:
        found = {}
        for place in (self.directory / "per_cpu").glob("cpu*"):
            try:
                found[int(place.name[3:])] = os.open(place / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
            except OSError as error:
                for file in found.values():
                    os.close(file)
                raise HostError(f"cannot read {place}: {error.strerror}") from error
        return dict(sorted(found.items()))


def remove_stale(tracefs: Path, roots: HostRoots) -> list[str]:
    """Remove the instances of vio processes that are gone; return their names."""
    removed = []
    for place in (tracefs / "instances").glob("vio-*"):
        match = _NAME.fullmatch(place.name)
        if match and not roots.process(int(match[1])).exists():
            with contextlib.suppress(OSError):
                place.rmdir()
                removed.append(place.name)
    return removed


def _make(tracefs: Path) -> Path:
    place = tracefs / "instances" / f"vio-{os.getpid()}-{next(_numbers)}"
    try:
        if place.exists():
            # a dead process had our id
            place.rmdir()
        place.mkdir()
    except OSError as error:
        raise HostError(f"cannot make the trace buffer {place}: {error.strerror}", "vio must run as root") from error
    return place
