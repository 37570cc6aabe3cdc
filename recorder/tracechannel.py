"""The events of one instance of the trace buffer, as they come, and the account of what it lost."""

import time
from collections.abc import Sequence

import numpy as np

from vio.losses import Loss, LossKind
from vio.recorder.tracefields import TraceRule
from vio.recorder.traceinstance import TraceInstance
from vio.recorder.tracepages import U8, Events, find_events


class Channel:
    """One instance with its events; what it loses it notes."""

    def __init__(self, instance: TraceInstance, rules: Sequence[TraceRule]) -> None:
        self.instance = instance
        self.losses: list[Loss] = []
        self.read = 0
        self.fullest = 0.0
        self.ids = {self.instance.event_id(rule.system, rule.event): rule for rule in rules}
        self._lost = dict.fromkeys(self.instance.cpus, 0)
        now_ns = _now_ns()
        self._sampled_ns = dict.fromkeys(self.instance.cpus, now_ns)

    def prepare(self) -> None:
        """Set the filters and enable the events; they begin to come after `switch`."""
        for rule in self.ids.values():
            event = f"events/{rule.system}/{rule.event}"
            if rule.filter:
                self.instance.set(f"{event}/filter", rule.filter)
            self.instance.set(f"{event}/enable", "1")

    def switch(self, is_on: bool) -> None:
        """Let events come, or no more."""
        self.instance.set("tracing_on", str(int(is_on)))

    def drain(self, is_last: bool = False) -> Events:
        """Return the events that have come since the last call."""
        pages = [self._drain_cpu(cpu, is_last) for cpu in self.instance.cpus]
        self.fullest = max(map(len, pages), default=0) / self.instance.pages_of_cpu
        events = find_events(np.concatenate(pages))
        self.read += len(events)
        return events

    def in_kernel(self) -> int:
        """Return the kernel's count of all events."""
        return sum(self.instance.counts(cpu).all for cpu in self.instance.cpus)

    def _drain_cpu(self, cpu: int, is_last: bool) -> U8:
        now_ns = _now_ns()
        pages = self.instance.drain(cpu, is_last)
        # a buffer that was not half full has lost nothing
        if is_last or 2 * len(pages) >= self.instance.pages_of_cpu:
            self._sample(cpu)
        else:
            self._sampled_ns[cpu] = now_ns
        return pages

    def _sample(self, cpu: int) -> None:
        lost, now_ns = self.instance.counts(cpu).lost, _now_ns()
        if lost > self._lost[cpu]:
            more = lost - self._lost[cpu]
            where = f"trace buffer cpu{cpu}"
            self.losses.append(Loss(LossKind.BUFFER, where, more, self._sampled_ns[cpu], now_ns))
        self._lost[cpu], self._sampled_ns[cpu] = lost, now_ns


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
