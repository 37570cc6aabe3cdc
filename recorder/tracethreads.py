"""Which thread ids are the target's: the kernel follows forks, so new processes are followed too, and left out here.

The kernel says of each new task whether it is a thread (CLONE_THREAD) of the one that made it (task:task_newtask).
"""

import numpy as np

from vio.errors import TargetError
from vio.recorder.procfs import HostRoots
from vio.recorder.tracefields import Kind, Source, TraceRule
from vio.recorder.tracefs import TracepointField
from vio.recorder.tracepages import Events, Mask
from vio.recorder.tracerows import read_source, thread_ids
from vio.recorder.wire import U64

SYSTEM, EVENT = "task", "task_newtask"
_CLONE_THREAD = np.uint64(0x10000)
# include/linux/threads.h: no id is above, whatever pid_max says.
_MOST_IDS = 1 << 22
_UNKNOWN, _OURS, _OTHERS, _WORKER = range(4)
_NOTHING = Source(Kind.CONSTANT)


class Threads:
    """The target's threads, and those that are known to be of other processes."""

    def __init__(self, pid: int, roots: HostRoots) -> None:
        self._pid = pid
        self._roots = roots
        self._state = np.zeros(_MOST_IDS, np.uint8)
        # time, parent, child, whether it is a thread of the parent's process
        self._births: list[tuple[int, int, int, bool]] = []

    def list_new(self) -> list[int]:
        """Return the threads there are now and that were not there at the last call.

        Raises:
            TargetError: the process does not exist.
        """
        try:
            entries = list((self._roots.process(self._pid) / "task").iterdir())
        except OSError:
            raise TargetError(f"there is no process {self._pid}") from None
        new = [tid for tid in sorted(int(entry.name) for entry in entries) if self._state[tid] != _OURS]
        self._state[new] = _OURS
        return new

    def note(self, births: Events, rule: TraceRule) -> list[int]:
        """Learn from new tasks what they are; return the target's new threads."""
        is_thread = (read_source(births, rule.flags) & _CLONE_THREAD) != 0
        columns = (births.time_ns, thread_ids(births), read_source(births, rule.key), is_thread)
        told = zip(*(column.tolist() for column in columns), strict=True)
        self._births = sorted([*self._births, *told])
        new = []
        waiting = []
        for birth in self._births:
            _, parent, child, is_thread_of_parent = birth
            if self._state[parent] == _UNKNOWN:
                # the parent's own birth has not been read yet
                waiting.append(birth)
                continue
            is_ours = is_thread_of_parent and self._state[parent] == _OURS
            self._state[child] = _OURS if is_ours else _OTHERS
            new += [child] if is_ours else []
        self._births = waiting
        return new

    def take_in(self, workers: list[int]) -> None:
        """Take threads of the kernel's as if they were the target's, in what is told about threads."""
        self._state[workers] = _WORKER

    def has(self, tids: U64) -> Mask:
        """Tell of each number whether it is the id of a thread of the target's, or of one that was taken in."""
        state = self._state[np.minimum(tids, np.uint64(_MOST_IDS - 1))]
        ours: Mask = (state == _OURS) | (state == _WORKER)
        return ours

    def unknown(self, events: Events) -> list[int]:
        """Return the threads of events that are neither known as the target's nor as another's."""
        tids = thread_ids(events)
        return [int(tid) for tid in np.unique(tids[self._state[tids] == _UNKNOWN])]

    def living(self, tids: list[int]) -> list[int]:
        """Return those of the threads that have not ended."""
        task = self._roots.process(self._pid) / "task"
        return [tid for tid in tids if (task / str(tid)).exists()]

    def look_up(self, tids: list[int]) -> None:
        """Ask /proc for threads of which the kernel has not told; who is gone counts as the target's."""
        for tid in tids:
            is_ours = (self._roots.process(self._pid) / "task" / str(tid)).exists()
            is_there = self._roots.process(tid).exists()
            self._state[tid] = _OURS if is_ours or not is_there else _OTHERS

    def are_ours(self, events: Events) -> Mask:
        """Tell for each event whether it is of the target's threads."""
        ours: Mask = self._state[thread_ids(events)] == _OURS
        return ours


def birth_rule(fields: dict[str, TracepointField]) -> TraceRule | None:
    """Return the rule of new tasks: `key` the new task, `flags` how it was cloned; None if the kernel does not tell."""
    if "pid" not in fields or "clone_flags" not in fields:
        return None
    child, flags = fields["pid"], fields["clone_flags"]
    return TraceRule(
        0,
        SYSTEM,
        EVENT,
        "",
        True,
        Source(Kind.FIELD, flags.offset, flags.size),
        _NOTHING,
        _NOTHING,
        _NOTHING,
        Source(Kind.FIELD, child.offset, child.size),
    )
