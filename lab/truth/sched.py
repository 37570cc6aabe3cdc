"""When a thread was runnable and did not run, or waited for a lock: by the kernel's events, in a trace of our own."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_INSTANCES = Path("/sys/kernel/tracing/instances")
_BUFFER_KIB = 4096
_LINE = re.compile(r"\s(\d+)\.(\d+): (sched_switch|sched_waking|sched_wakeup): (.*)$")
_SCHED = {
    "sched/sched_switch": "prev_pid == {0} || next_pid == {0}",
    "sched/sched_waking": "pid == {0}",
}
_LOCK = {"lock/contention_begin": "common_pid == {0}", "lock/contention_end": "common_pid == {0}"}
_LOCK_LINE = re.compile(r"\s(\d+)\.(\d+): contention_(begin|end): (\S+)")
_LONG_NS = 1_000_000  # shorter waits for locks are everybody's


@dataclass(slots=True)
class Delays:
    """The delays (from, to; CLOCK_BOOTTIME ns) of threads in order; known when the context has been left."""

    tids: tuple[int, ...]
    intervals: list[tuple[int, int]] = field(default_factory=list)


@contextlib.contextmanager
def queue_delays(*tids: int) -> Iterator[Delays]:
    """Watch for a while when threads were runnable and did not run; they do not work at the same time."""
    found = Delays(tids)
    with _traced(_SCHED, *tids) as lines:
        yield found
    found.intervals = sorted(delay for tid in tids for delay in delays_of(lines, tid))


@contextlib.contextmanager
def lock_waits(tid: int) -> Iterator[Delays]:
    """Watch for a while when a thread waited for locks of the kernel's."""
    found = Delays((tid,))
    with _traced(_LOCK, tid) as lines:
        yield found
    found.intervals = lock_waits_of(lines)


@contextlib.contextmanager
def _traced(events: dict[str, str], *tids: int) -> Iterator[list[str]]:
    """Trace events of some threads; the list has the lines when the context has been left."""
    lines: list[str] = []
    instance = _INSTANCES / f"truth-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "trace_clock").write_text("boot")
        (instance / "buffer_size_kb").write_text(str(_BUFFER_KIB))
        for event, words in events.items():
            (instance / "events" / event / "filter").write_text(" || ".join(words.format(tid) for tid in tids))
            (instance / "events" / event / "enable").write_text("1")
        yield lines
        (instance / "tracing_on").write_text("0")
        lines += (instance / "trace").read_text(errors="replace").splitlines()
    finally:
        instance.rmdir()


def lock_waits_of(lines: Iterable[str]) -> list[tuple[int, int]]:
    """Read the kernel's trace: the long waits for a lock, from contention to having it."""
    since: dict[str, int] = {}
    intervals = []
    for line in lines:
        if found := _LOCK_LINE.search(line):
            at_ns = int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0"))
            if found[3] == "begin":
                since[found[4]] = at_ns
            elif at_ns - since.get(found[4], at_ns) > _LONG_NS:
                intervals.append((since[found[4]], at_ns))
    return intervals


def delays_of(lines: Iterable[str], tid: int) -> list[tuple[int, int]]:
    """Read the kernel's trace: from a wake-up, or from being preempted, to running."""
    since_ns = None
    intervals = []
    for line in lines:
        found = _LINE.search(line)
        if not found:
            continue
        at_ns = int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0"))
        name, words = found[3], found[4]
        if name != "sched_switch":
            since_ns = at_ns if since_ns is None else since_ns
        elif f"next_pid={tid} " in words:
            if since_ns is not None:
                intervals.append((since_ns, at_ns))
            since_ns = None
        elif re.search(rf"prev_pid={tid} .*prev_state=R", words):
            since_ns = at_ns
        else:  # it went to sleep: what was pending is over
            since_ns = None
    return intervals
