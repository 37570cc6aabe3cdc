"""Let what is measured go before the machine's other work, which would delay it as it likes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from lab.beside import beside

_NICE = -15
_PRIORITY = 10
_UNBOUND_WORKER = "kworker/u"
_LOOK_S = 0.1


@contextlib.contextmanager
def preferred() -> Iterator[None]:
    """Let what is started meanwhile go before the machine's other work."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def hurry(pid: int) -> None:
    """Let all threads of a process, and those that it starts, run as soon as they can: niceness waits its turn.

    For what sleeps nearly all of its time; other work of its CPU stands still meanwhile.
    """
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(_PRIORITY))


@contextlib.contextmanager
def hurried_workers() -> Iterator[None]:
    """Do the same with the kernel's unbound workers, old and new, which requests of a loop device go through."""
    hurried: set[int] = set()

    def look(is_over: threading.Event) -> None:
        seen: set[int] = set()
        while not is_over.wait(_LOOK_S):
            pids = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
            for pid in pids - seen:
                if _is_worker(pid):
                    hurried.add(pid)
                    hurry(pid)
            seen = pids

    try:
        with beside(look):
            yield
    finally:
        for pid in hurried:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith(_UNBOUND_WORKER)
    return False
