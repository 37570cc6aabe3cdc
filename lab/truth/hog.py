"""A real-time process that takes one CPU for itself, in bursts, and ends by itself: hog CPU BUSY_MS IDLE_MS LIMIT_S."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from lab.initramfs import REPOSITORY

_PRIORITY = 50


def main(cpu: str, busy_ms: str, idle_ms: str, limit_s: str) -> int:
    """Hog."""
    os.sched_setaffinity(0, {int(cpu)})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    end_s = time.monotonic() + float(limit_s)
    while time.monotonic() < end_s:
        busy_until_s = time.monotonic() + float(busy_ms) / 1e3
        while time.monotonic() < busy_until_s:
            pass
        time.sleep(float(idle_ms) / 1e3)
    return 0


@contextlib.contextmanager
def hogging(cpu: int, busy_ms: float, idle_ms: float, limit_s: float = 20) -> Iterator[None]:
    """Hog a CPU for a while."""
    words = (str(cpu), str(busy_ms), str(idle_ms), str(limit_s))
    process = subprocess.Popen((sys.executable, "-m", "lab.truth.hog", *words), cwd=REPOSITORY)
    try:
        while os.sched_getscheduler(process.pid) != os.SCHED_FIFO and process.poll() is None:
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def pinned(tid: int, cpu: int) -> Iterator[None]:
    """Bind a thread to one CPU for a while."""
    before = os.sched_getaffinity(tid)
    os.sched_setaffinity(tid, {cpu})
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(tid, before)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
