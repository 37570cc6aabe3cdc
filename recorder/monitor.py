"""Choose the monitor socket of a process that may be asked, and ask it.

A QMP socket serves one client at a time. libvirt's is libvirt's; any other is asked only when the
kernel's list of sockets shows that this very process listens there and that nobody is connected.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from vio.recorder.cmdline import CommandLine
from vio.recorder.optstring import Options, get_text
from vio.recorder.procfs import socket_inodes
from vio.recorder.qmp import TIMEOUT_S, QmpFacts, QmpUnavailable, ask

Used = TypeVar("Used")
_LISTENS = 0x10000
_CONNECTED = 3
_LEAVING_S = 0.2


class _State(Enum):
    FREE = auto()
    BUSY = auto()
    ABSENT = auto()


@dataclass(frozen=True, slots=True)
class _UnixSocket:
    inode: int
    path: str
    is_listening: bool
    is_connected: bool


def ask_process(command: CommandLine, process: Path, timeout_s: float = TIMEOUT_S) -> QmpFacts:
    """Ask the process whose command line this is.

    Raises:
        QmpUnavailable: there is no socket, it is libvirt's or in use, or it did not answer in time.
    """
    return _with_monitor(command, process, lambda path: ask(path, timeout_s))


def monitor_path(command: CommandLine, process: Path) -> Path:
    """Return a QMP socket of the process that may be connected to now; raise QmpUnavailable if there is none."""
    return _with_monitor(command, process, lambda path: path)


def _with_monitor(command: CommandLine, process: Path, use: Callable[[Path], Used]) -> Used:
    reasons = []
    for chardev in _monitors(command):
        try:
            return use(_usable_path(chardev, process))
        except QmpUnavailable as error:
            reasons.append(str(error))
    raise QmpUnavailable("; ".join(reasons) or "it has no QMP socket")


def _monitors(command: CommandLine) -> list[Options]:
    by_id = {get_text(chardev, "id"): chardev for chardev in command.chardevs}
    return [by_id[name] for name in command.monitor_chardevs if name in by_id]


def _usable_path(chardev: Options, process: Path) -> Path:
    """Return the path of a monitor's socket if connecting to it disturbs nobody."""
    path = get_text(chardev, "path")
    if get_text(chardev, "id") == "charmonitor" or "/libvirt/" in path:
        raise QmpUnavailable("its QMP socket belongs to libvirt")
    if get_text(chardev, "backend") != "socket" or not path:
        raise QmpUnavailable("its QMP monitor is not on a socket with a name")
    try:
        state = _state(path, process)
        if state is _State.BUSY:
            # a client that left a moment ago (vio itself) is still there until QEMU has noticed
            time.sleep(_LEAVING_S)
            state = _state(path, process)
    except OSError as error:
        raise QmpUnavailable(f"its sockets cannot be read: {error.strerror}") from None
    if state is _State.BUSY:
        raise QmpUnavailable("its QMP socket is in use by another program")
    if state is _State.ABSENT:
        raise QmpUnavailable("it does not listen on its QMP socket")
    return _seen_from_here(path, process)


def _state(path: str, process: Path) -> _State:
    own = socket_inodes(process)
    sockets = [unix for unix in _unix_sockets(process) if unix.path == path and unix.inode in own]
    if any(unix.is_connected for unix in sockets):
        return _State.BUSY
    return _State.FREE if any(unix.is_listening for unix in sockets) else _State.ABSENT


def _seen_from_here(path: str, process: Path) -> Path:
    inside = process / "root" / path.lstrip("/") if path.startswith("/") else process / "cwd" / path
    here = Path(path)
    try:
        # the short way where it is the same file: a socket's address holds 107 bytes
        return here if here.is_absolute() and here.samefile(inside) else inside
    except OSError:
        return inside


def _unix_sockets(process: Path) -> Iterable[_UnixSocket]:
    for line in os.fsdecode((process / "net" / "unix").read_bytes()).splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8:
            is_listening = bool(int(fields[3], 16) & _LISTENS)
            yield _UnixSocket(int(fields[6]), fields[7], is_listening, int(fields[5], 16) == _CONNECTED)
