"""A running program that prints its sums at each tick: from its start to the last one."""

import os
import select
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from vio.errors import HostError, TargetError
from vio.recorder.bpftrace import Bpftrace, BpftraceOptions, takes_no_warnings
from vio.recorder.host import HostFeatures, read_host
from vio.recorder.lacks import missing
from vio.recorder.stop import StopSignals, open_process
from vio.recorder.top.snapshot import Reader, Snapshot

MAP_ENTRIES = 16_384
_PAGES = 1024  # each tick prints all the maps at once
_ATTACH_S = 180.0
_WORKING_SHARE = 0.1
_END_S = 15.0
_TICK_S = 0.2
_LAST_TICK_S = 2.0  # how long an ended target's last figures are waited for


class Ticks:
    """The snapshots of a program, until a signal comes or the process `pid` ends (None: no process is waited for).

    `stack` takes it down: bpftrace ends, and with it the probes.
    """

    def __init__(self, program: str, host: HostFeatures, pid: int | None, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vio-top-")))
        (folder / "program.bt").write_text(program)
        self._reader = Reader()
        self._stop = stack.enter_context(StopSignals())
        self._ended = None if pid is None else _opened(pid, stack)
        self._tracer = stack.enter_context(_tracer(host, folder))
        stack.callback(self._end)

    @property
    def tracer_pid(self) -> int:
        """The process id of bpftrace."""
        return self._tracer.pid

    def wait_ready(self) -> None:
        """Wait until the probes are attached.

        Raises:
            HostError: bpftrace ended instead, or does not get on.
            KeyboardInterrupt: the user does not want to any more.
        """
        tracer, began_s = self._tracer, time.monotonic()
        while not self._reader.is_ready:
            select.select([tracer.fileno(), self._stop.fileno()], [], [], _TICK_S)
            if self._stop.count:
                raise KeyboardInterrupt
            list(self._reader.feed(tracer.read()))
            if tracer.is_eof:
                raise tracer.failure()
            waited_s = time.monotonic() - began_s
            if waited_s > _ATTACH_S and tracer.used_s() < _WORKING_SHARE * waited_s:
                raise HostError("bpftrace did not attach the probes in time", "is this machine busy with other things?")

    def snapshots(self, interval_s: float) -> Iterator[Snapshot]:
        """Yield them as they come; the last one after the process's end."""
        tracer = self._tracer
        waits = [tracer.fileno(), self._stop.fileno(), *([] if self._ended is None else [self._ended])]
        until_s = 0.0
        while not tracer.is_eof:
            woken = select.select(waits, [], [], _TICK_S)[0]
            if self._stop.count:
                return
            for snapshot in self._reader.feed(tracer.read()):
                yield snapshot
                if until_s:
                    return
            if self._ended in woken and self._ended is not None:
                waits.remove(self._ended)
                until_s = time.monotonic() + min(interval_s, _LAST_TICK_S)
            if until_s and time.monotonic() > until_s:
                last = list(self._at_end())
                if not last:
                    raise HostError("bpftrace did not print its last figures in time", "is this machine busy?")
                yield from last
                return
        raise HostError(f"bpftrace ended before it was asked to: {tracer.why_ended()}", "`vio doctor` tries it")

    def _at_end(self) -> Iterator[Snapshot]:
        """End bpftrace, which prints its maps once more."""
        for wait_s in self._tracer.asks():
            deadline = time.monotonic() + wait_s
            while not self._tracer.is_eof and time.monotonic() < deadline:
                select.select([self._tracer.fileno()], [], [], _TICK_S)
                yield from self._reader.feed(self._tracer.read())

    def _end(self) -> None:
        """Let bpftrace take its probes away in order; it is killed if it does not."""
        for _ in self._at_end():
            pass
        self._tracer.wait(_END_S)


def able_host() -> HostFeatures:
    """Return the host if it can trace.

    Raises:
        HostError: it cannot.
    """
    host = read_host()
    for lack in missing(host):
        if lack.is_fatal:
            raise HostError(f"this host cannot trace: {lack.what} is missing", lack.todo)
    return host


def _opened(pid: int, stack: ExitStack) -> int:
    try:
        pidfd = open_process(pid)
    except ProcessLookupError:
        raise TargetError(f"process {pid} has ended", "`vio list` shows what is running") from None
    stack.callback(os.close, pidfd)
    return pidfd


def _tracer(host: HostFeatures, folder: Path) -> Bpftrace:
    if host.bpftrace is None:
        raise HostError("bpftrace is missing", "install it")
    path = host.bpftrace.path
    settings = BpftraceOptions(path, _PAGES, MAP_ENTRIES, takes_no_warnings(path), host.bpftrace.version)
    return Bpftrace(folder / "program.bt", folder / "log.txt", settings)
