"""Do in a child what may wait for storage that does not answer: such a wait cannot be ended, nor can its process.

The child is a fork, so it has what was opened; what it finds comes back in memory. One that gets nowhere is left
behind: it ends when the storage answers, or at once where the kernel lets it.
"""

import contextlib
import os
import pickle
import select
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")

STUCK_S = 5.0
"""A child that has not run for so long waits for what will not come; the slowest disks answer sooner."""
STUCK_AGAIN_S = 1.0
"""The same, where something has been stuck already."""
_LOOK_S = 0.2


class StuckError(Exception):
    """The storage below does not answer."""


def guarded(step: Callable[[], T], kept: Collection[int] = (), stuck_s: float = STUCK_S) -> T:
    """Return what `step` returns, which must be picklable, or raise what it raises; `kept` are descriptors it needs.

    Raises:
        StuckError: It got nowhere for `stuck_s`.
    """
    result = os.memfd_create("vio-guarded")
    try:
        pid = os.fork()
        if pid == 0:
            _run_in_child(step, result, frozenset(kept))
        if not _wait(pid, stuck_s):
            raise StuckError
        return cast(T, _read(result))
    finally:
        os.close(result)


def _run_in_child(step: Callable[[], object], result: int, kept: frozenset[int]) -> None:
    """Run it and exit, whatever happens. What the child holds open it may hold for ever: no pipe, no lock of others."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(kept | {result})
        try:
            answer = (True, step())
        except Exception as error:  # it is the parent's to judge
            answer = (False, error)
        with os.fdopen(result, "wb", closefd=False) as file:
            pickle.dump(answer, file)
    finally:
        os._exit(0)


def _close_all_but(kept: frozenset[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for entry in list(Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)


def _wait(pid: int, stuck_s: float) -> bool:
    """Wait for the child's end; False if it got nowhere and was left behind."""
    handle = os.pidfd_open(pid)
    ran, since_s = "", time.monotonic()
    try:
        while not select.select([handle], [], [], _LOOK_S)[0]:
            now, now_s = _run_time(pid), time.monotonic()
            if now != ran:
                ran, since_s = now, now_s
            elif now_s - since_s > stuck_s:
                os.kill(pid, signal.SIGKILL)
                select.select([handle], [], [], _LOOK_S)
                os.waitpid(pid, os.WNOHANG)
                return False
        os.waitpid(pid, 0)
    finally:
        os.close(handle)
    return True


def _run_time(pid: int) -> str:
    """Return what changes whenever a process has run for a moment."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/schedstat").read_text()
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text()
    return ""


def _read(result: int) -> object:
    os.lseek(result, 0, os.SEEK_SET)
    with os.fdopen(result, "rb", closefd=False) as file:
        try:
            is_well, answer = pickle.load(file)
        except (EOFError, pickle.UnpicklingError):
            raise RuntimeError("it ended without an answer") from None
    if not is_well:
        raise answer
    return answer
