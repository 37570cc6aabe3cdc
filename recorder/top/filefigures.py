"""From two snapshots to what each process does to each file. Pure.

A call that has not returned counts with the time that it has waited in the interval.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from vio.layer import Op
from vio.recorder.top.fileform import OPS, SUBMIT, read_key
from vio.recorder.top.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class OpenedAs:
    """What a descriptor of a process is: the process, where it runs, and the file; `path` is "" once it is closed.

    `container` names the container, service or session; `vm` and `disk` are a QEMU's.
    """

    process: str
    container: str
    path: str
    vm: str = ""
    disk: str = ""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One operation of a process on a file; `waited_ns` are of all its threads together.

    Of requests by io_submit (`is_async`) only the number is known.
    """

    pid: int
    opened: OpenedAs
    op: Op
    is_async: bool
    calls: int = 0
    bytes: int = 0
    waited_ns: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class FileFrame:
    """The rows of one interval, the longest waits first; `others` are calls on what is no file (sockets, pipes)."""

    seconds: float
    rows: tuple[FileRow, ...]
    others: int
    notes: tuple[str, ...] = ()


Look = Callable[[int, int], OpenedAs | None]


def file_frame(before: Snapshot, now: Snapshot, look: Look) -> FileFrame:
    """Return the figures between two snapshots; `look` says what a descriptor of a process is, None if no file."""
    rows: dict[int, FileRow] = {}
    others = 0
    for key, (calls, size, waited_ns, waiting) in _sums(before, now).items():
        pid, descriptor, op = read_key(key)
        opened = look(pid, descriptor) if calls or waiting else None
        if opened and not calls and not opened.process:
            continue  # a thread that was ended within a call never returns from it
        if opened:
            kind = OPS.get(op, Op.OTHER)
            rows[key] = FileRow(pid, opened, kind, op == SUBMIT, calls, size, max(waited_ns, 0), waiting)
        else:
            others += calls
    seconds = max(now.time_ns - before.time_ns, 1) / 1e9
    return FileFrame(seconds, tuple(sorted(_together(rows.values()), key=_importance)), others)


def _importance(row: FileRow) -> tuple[int, int, int, str]:
    return (-row.waited_ns, -row.calls, row.pid, row.opened.path)


def _together(rows: Iterable[FileRow]) -> list[FileRow]:
    """Put several descriptors of one file together."""
    found: dict[tuple[int, OpenedAs, Op, bool], FileRow] = {}
    for row in rows:
        key = (row.pid, row.opened, row.op, row.is_async)
        one = found.get(key)
        found[key] = (
            row
            if one is None
            else replace(
                one,
                calls=one.calls + row.calls,
                bytes=one.bytes + row.bytes,
                waited_ns=one.waited_ns + row.waited_ns,
                waiting=one.waiting + row.waiting,
            )
        )
    return list(found.values())


def _sums(before: Snapshot, now: Snapshot) -> dict[int, list[int]]:
    """Return calls, bytes, time waited and calls under way, by key."""
    found: dict[int, list[int]] = {}
    for place, name in enumerate(("n", "y", "w")):
        earlier = before.of(name)
        for key, number in now.of(name).items():
            if key[0] and number > earlier.get(key, 0):
                found.setdefault(key[0], [0, 0, 0, 0])[place] = number - earlier.get(key, 0)
    for sign, snapshot in ((1, now), (-1, before)):
        for thread, begin_ns in snapshot.of("e").items():
            call = snapshot.of("f").get(thread, 0)
            if begin_ns and call:
                entry = found.setdefault(call, [0, 0, 0, 0])
                entry[2] += sign * max(snapshot.time_ns - begin_ns, 0)
                entry[3] += sign > 0
    return found
