"""Record tracepoints through trace buffers of our own in tracefs; nothing is lost here without being counted.

Unlike a BPF program on a tracepoint, the trace buffer takes events that interrupt another one's handling. There are up
to three instances: one for events that belong to devices and files, one that only the target's threads write to, and
one for what happens to these threads, which others write to as well.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vio.losses import Loss
from vio.recorder.procfs import HostRoots
from vio.recorder.rows import Rows
from vio.recorder.tracechannel import Channel
from vio.recorder.tracefields import TraceRule
from vio.recorder.tracefs import tracepoint_fields
from vio.recorder.traceinstance import TraceInstance, remove_stale
from vio.recorder.tracepages import Events
from vio.recorder.tracerows import RowMaker, event_ids
from vio.recorder.tracesched import of_threads, wakings_of
from vio.recorder.tracethreads import EVENT, SYSTEM, Threads, birth_rule
from vio.recorder.traceworkers import Workers

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


class TraceBuffer:
    """Record by rules while the context lasts; all that was set up in tracefs is gone afterwards.

    One that `is_paused` has everything ready, and records from `start` on. What happens to the threads `left_out` is
    not recorded.

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
        *,
        is_paused: bool = False,
        left_out: frozenset[int] = frozenset(),
    ) -> None:
        self._tracefs = tracefs
        self._rules = rules
        self._buffer_kb = buffer_kb
        self._roots = roots
        self._is_paused = is_paused
        self._left_out = left_out
        self._followed = Threads(pid, roots)
        self._workers = Workers(roots)
        self._stack = contextlib.ExitStack()
        self._devices: Channel | None = None
        self._threads: Channel | None = None
        self._sched: Channel | None = None
        self._birth: tuple[int, TraceRule] | None = None
        self._maker = RowMaker({})
        self._rows = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            remove_stale(self._tracefs, self._roots)
            own = [rule for rule in self._rules if rule.is_of_threads]
            about = [rule for rule in self._rules if rule.threads]
            others = [rule for rule in self._rules if not rule.is_of_threads and not rule.threads]
            self._devices = self._open(stack, others) if others else None
            self._threads = self._open_threads(stack, own) if own else None
            self._sched = self._open(stack, about) if about else None
            for channel in self._following:
                channel.instance.set("options/event-fork", "1")
            self._follow_new()
            rules = {number: rule for channel in self._channels for number, rule in channel.ids.items()}
            if self._birth:
                rules.pop(self._birth[0], None)
            self._maker = RowMaker(rules)
            if not self._is_paused:
                self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self) -> None:
        """Let events come.

        Raises:
            TargetError: the process has ended.
        """
        # those that were born while nothing told of it
        self._follow_new()
        for channel in self._channels:
            channel.switch(True)

    def read(self) -> list[Rows]:
        """Return what has come since the last call, in parts that are not sorted; never waits."""
        return self._read(is_last=False)

    def stop(self) -> list[Rows]:
        """Record no more, and return the rest; `losses` and `tally` are final after that."""
        for channel in self._channels:
            channel.switch(False)
        return self._read(is_last=True)

    @property
    def fullest(self) -> float:
        """Return how full the fullest CPU's buffer was at the last `read`: 1 is full; read sooner before that."""
        return max((channel.fullest for channel in self._channels), default=0.0)

    @property
    def workers(self) -> Mapping[int, str]:
        """Name the kernel's threads that have carried the target's IO on, by their ids; they are followed, too."""
        return self._workers.names

    def losses(self) -> list[Loss]:
        """Return all losses known so far."""
        return [loss for channel in self._channels for loss in channel.losses]

    def tally(self) -> Tally:
        """Count all events; exact after `stop`."""
        read = sum(channel.read for channel in self._channels)
        lost = sum(loss.records for loss in self.losses())
        in_kernel = sum(channel.in_kernel() for channel in self._channels)
        return Tally(in_kernel, self._rows, read - self._rows, lost)

    @property
    def _channels(self) -> list[Channel]:
        return [channel for channel in (self._devices, self._threads, self._sched) if channel]

    @property
    def _following(self) -> list[Channel]:
        return [channel for channel in (self._threads, self._sched) if channel]

    def _read(self, is_last: bool) -> list[Rows]:
        # The threads' events last: there stand the marks that those of the devices before are tested for, and the
        # births of the threads that the others tell of.
        batches = [self._devices.drain(is_last)] if self._devices else []
        self._follow_workers([self._of_target(events) for events in batches])
        about = self._drain_sched(self._sched, is_last) if self._sched else None
        batches += self._drain_threads(self._threads, is_last) if self._threads else []
        if self._sched and about is not None:
            batches.append(of_threads(about, self._sched.ids, self._followed, self._left_out))
        for events in batches:
            self._maker.note(events)
        parts = [self._maker.rows(events) for events in batches]
        self._rows += sum(map(len, parts))
        return parts

    def _drain_threads(self, channel: Channel, is_last: bool) -> list[Events]:
        # The birth of a thread stands in the buffer before its first event, on another CPU perhaps: read once more.
        batches: list[Events] = []
        for _ in range(_PASSES):
            batches.append(channel.drain(is_last))
            self._note_births(batches[-1])
            unknown = {tid for events in batches for tid in self._followed.unknown(events)}
            if not unknown:
                break
        else:
            self._followed.look_up(sorted(unknown))
        return [events.pick(self._followed.are_ours(events)) for events in batches]

    def _note_births(self, events: Events) -> None:
        if not self._birth:
            return
        number, rule = self._birth
        births = events.pick(event_ids(events) == number)
        if len(births):
            # The kernel follows forks, but not the threads that it makes itself (io_uring's).
            self._follow(self._followed.living(self._followed.note(births, rule)))

    def _open(self, stack: contextlib.ExitStack, rules: Sequence[TraceRule]) -> Channel:
        instance = TraceInstance(self._tracefs, self._buffer_kb)
        stack.callback(instance.close)
        channel = Channel(instance, rules)
        channel.prepare()
        return channel

    def _open_threads(self, stack: contextlib.ExitStack, rules: Sequence[TraceRule]) -> Channel:
        birth = birth_rule(tracepoint_fields(self._tracefs, SYSTEM, EVENT))
        channel = self._open(stack, [*rules, *([birth] if birth else [])])
        self._birth = next(((number, rule) for number, rule in channel.ids.items() if rule is birth), None)
        return channel

    def _follow_new(self) -> None:
        # until no thread has come that was born before its parent was followed
        while self._following and (new := self._followed.list_new()):
            self._follow(new)

    def _drain_sched(self, channel: Channel, is_last: bool) -> Events:
        events = channel.drain(is_last)
        self._follow_workers([wakings_of(events, channel.ids, self._followed)])
        return events

    def _of_target(self, events: Events) -> Events:
        """Leave out what any process's work may have written."""
        ids = [number for number, rule in self._devices.ids.items() if rule.is_of_anyone] if self._devices else []
        return events.pick(~np.isin(event_ids(events), ids)) if ids else events

    def _follow_workers(self, batches: Sequence[Events]) -> None:
        new = [tid for events in batches for tid in self._workers.note(events)] if self._sched else []
        if new and self._sched:
            self._followed.take_in(new)
            self._sched.instance.follow(new)

    def _follow(self, tids: list[int]) -> None:
        if self._threads:
            self._threads.instance.follow(tids)
        if self._sched:
            self._sched.instance.follow([tid for tid in tids if tid not in self._left_out])
