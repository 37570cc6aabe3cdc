"""The kernel's own threads that carry the target's IO on: kblockd, dm-crypt's, a loop device's, a journal's.

No list of names tells them, and they come and go. But they pass points of the target's devices and files, or wake one
that does, or a thread of the target's; and events say whether they were written within an interrupt, which may meet
anybody.
"""

from pathlib import Path

import numpy as np

from vio.printable import printable
from vio.recorder.procfs import HostRoots
from vio.recorder.tracepages import Events
from vio.recorder.tracerows import thread_ids

MOST_WORKERS = 256
_INTERRUPT = np.uint32(0x58)  # of an event's context (common_flags): interrupt, softirq, NMI
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, in the flags that /proc shows
_FLAGS = 6  # of the fields of /proc/PID/stat after the name


class Workers:
    """Finds them among those that write some events; `names` are those found so far, by thread id."""

    def __init__(self, roots: HostRoots) -> None:
        self.names: dict[int, str] = {}
        self._roots = roots
        self._others: set[int] = {0}

    def note(self, events: Events) -> list[int]:
        """Return the workers that have not been seen before; no more than `MOST_WORKERS` in all."""
        is_own = (events.word(0) >> np.uint32(16)) & _INTERRUPT == 0
        new = [tid for tid in np.unique(thread_ids(events)[is_own]).tolist() if tid not in self._others]
        new = [tid for tid in new if tid not in self.names]
        found = {tid: name for tid in new if (name := _kernel_thread(self._roots.process(tid)))}
        taken = dict(list(found.items())[: MOST_WORKERS - len(self.names)])
        self._others.update(tid for tid in new if tid not in taken)
        self.names |= taken
        return list(taken)


def _kernel_thread(process: Path) -> str:
    """Return the name of a thread that is the kernel's own; "" if it is another's, or gone."""
    try:
        stat, name = (process / "stat").read_text(errors="replace"), (process / "comm").read_text(errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    is_worker = len(fields) > _FLAGS and fields[_FLAGS].isdecimal() and int(fields[_FLAGS]) & _KERNEL_THREAD
    return printable(name.strip()) if is_worker else ""
