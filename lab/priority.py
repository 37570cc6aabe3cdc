"""Let what is measured go before the machine's other work, which would delay it as it likes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NICE = -15
_PRIORITY = 10
_UNBOUND_WORKER = "kworker/u"


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
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(_PRIORITY))


@contextlib.contextmanager
def hurried_workers() -> Iterator[None]:
    """Do the same with the kernel's workers that are there, which requests of a loop device go through."""
    workers = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _is_worker(path)]
    try:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                hurry(pid)
        yield
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _is_worker(comm: Path) -> bool:
    with contextlib.suppress(OSError):
        return comm.read_text().startswith(_UNBOUND_WORKER)
    return False
