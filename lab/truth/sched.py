"""When a thread was runnable and did not run, by the kernel's scheduler events, in a trace instance of our own."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_INSTANCES = Path("/sys/kernel/tracing/instances")
_BUFFER_KIB = 4096
_LINE = re.compile(r"\s(\d+)\.(\d+): (sched_switch|sched_waking|sched_wakeup): (.*)$")
_FILTERS = {
    "sched_switch": "prev_pid == {0} || next_pid == {0}",
    "sched_waking": "pid == {0}",
}


@dataclass(slots=True)
class QueueDelays:
    """The delays (from, to; CLOCK_BOOTTIME ns) of one thread; known when the context has been left."""

    tid: int
    intervals: list[tuple[int, int]] = field(default_factory=list)
    event_count: int = 0


@contextlib.contextmanager
def queue_delays(tid: int) -> Iterator[QueueDelays]:
    """Watch one thread for a while."""
    found = QueueDelays(tid)
    instance = _INSTANCES / f"truth-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "trace_clock").write_text("boot")
        (instance / "buffer_size_kb").write_text(str(_BUFFER_KIB))
        for event, words in _FILTERS.items():
            (instance / "events" / "sched" / event / "filter").write_text(words.format(tid))
            (instance / "events" / "sched" / event / "enable").write_text("1")
        yield found
        (instance / "tracing_on").write_text("0")
        lines = (instance / "trace").read_text(errors="replace").splitlines()
        found.event_count = sum(not line.startswith("#") for line in lines)
        found.intervals = delays_of(lines, tid)
    finally:
        instance.rmdir()


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
