"""Record tracepoints through trace buffers of our own in tracefs; nothing is lost here without being counted.

Unlike a BPF program on a tracepoint, the trace buffer takes events that interrupt another one's handling. There are up to
two instances: one for events that belong to devices and files, one that only the target's threads write to.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from vio.losses import Loss, LossKind
from vio.recorder.procfs import HostRoots
from vio.recorder.rows import Rows, join_rows
from vio.recorder.tracefields import TraceRule
from vio.recorder.tracefs import tracepoint_fields
from vio.recorder.traceinstance import TraceInstance, remove_stale
from vio.recorder.tracepages import Events, find_events
from vio.recorder.tracerows import RowMaker, event_ids
from vio.recorder.tracethreads import EVENT, SYSTEM, Threads, birth_rule

BUFFER_KB = 8192
_PASSES = 5
_HOST = HostRoots()


@dataclass(frozen=True, slots=True)
class Tally:
    """All events there were: `in_kernel` is the kernel's count, and is `rows + foreign + lost` when all is read.

    `foreign` were read and are not the target's (other processes' rings, forked children), or tell of new threads.
    """

    in_kernel: int
    rows: int
    foreign: int
    lost: int


@dataclass(slots=True)
class _Channel:
    """An instance with its rules, and for each CPU when its counts were last read and what was lost until then."""

    name: str
    instance: TraceInstance
    maker: RowMaker
    sampled: dict[int, tuple[int, int]] = field(default_factory=dict)


class TraceBuffer:
    """Record by rules while the context lasts; all that was set up in tracefs is gone afterwards.

    Raises:
        HostError: tracefs refuses a setting.
        TargetError: the process does not exist, and there are rules for its threads.
    """

    def __init__(
        self,
        tracefs: Path,
        rules: Sequence[TraceRule],
        pid: int,
        buffer_kb: int = BUFFER_KB,
        roots: HostRoots = _HOST,
    ) -> None:
        self._tracefs = tracefs
        self._rules = rules
        self._buffer_kb = buffer_kb
        self._roots = roots
        self._threads = Threads(pid, roots)
        self._stack = contextlib.ExitStack()
        # in the order of reading: a test must be read before what it tests is noted
        self._channels: list[_Channel] = []
        self._birth: TraceRule | None = None
        self._birth_id = -1
        self._rows = 0
        self._foreign = 0
        self._losses: list[Loss] = []

    def __enter__(self) -> "TraceBuffer":
        with contextlib.ExitStack() as stack:
            remove_stale(self._tracefs, self._roots)
            self._add(stack, "devices", [rule for rule in self._rules if not rule.is_of_threads])
            own = [rule for rule in self._rules if rule.is_of_threads]
            self._birth = birth_rule(tracepoint_fields(self._tracefs, SYSTEM, EVENT)) if own else None
            self._add(stack, "threads", own)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self) -> Rows:
        """Return what has come since the last call, not sorted; never waits."""
        devices = [self._drain(channel) for channel in self._channels if channel.name == "devices"]
        threads = [self._drain_threads(channel) for channel in self._channels if channel.name == "threads"]
        parts: list[Rows] = []
        for channel, batches in zip(self._channels, [*devices, *threads], strict=True):
            for events in batches:
                channel.maker.note(events)
        return join_rows(parts)
