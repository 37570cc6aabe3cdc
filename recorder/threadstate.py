"""What each thread of a process does at this moment: its state, and where in the kernel it waits."""

from pathlib import Path

from vio.manifest import ThreadState
from vio.printable import printable

_MOST_FRAMES = 24
_MOST_THREADS = 4096


def thread_states(process: Path) -> tuple[ThreadState, ...]:
    """Read all threads of a process (its directory in /proc); what may not be read is ""."""
    try:
        tids = sorted(int(entry.name) for entry in (process / "task").iterdir())
    except OSError:
        return ()
    found = (_state_of(process / "task" / str(tid), tid) for tid in tids[:_MOST_THREADS])
    return tuple(one for one in found if one is not None)


def _state_of(task: Path, tid: int) -> ThreadState | None:
    stat = _read(task / "stat")
    name, closing, rest = stat.rpartition(")")
    if not closing or not rest.split():
        return None
    wchan = _read(task / "wchan").strip()
    stack = tuple(_function(line) for line in _read(task / "stack").splitlines()[:_MOST_FRAMES])
    return ThreadState(
        tid,
        printable(name.partition("(")[2]),
        rest.split()[0],
        "" if wchan == "0" else printable(wchan),
        (_read(task / "syscall").split() or [""])[0],
        tuple(one for one in stack if one),
    )


def _function(line: str) -> str:
    """Return the function of a line of a kernel stack: `[<0>] io_schedule+0x46/0x70`."""
    return printable(line.partition("] ")[2].partition("+")[0].strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
