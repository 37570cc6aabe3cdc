"""Find the open file of a disk among all that a process has open."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vio.recorder.nodes import ImageChain
from vio.recorder.procfs import FileIdentity, HostRoots, Mount, OpenFile, identity_of

_QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True, slots=True)
class ProcessFiles:
    """What is needed of a process to find its disks' files."""

    process: Path
    files: Sequence[OpenFile]
    mounts: list[Mount]
    roots: HostRoots
    fd_sets: dict[int, list[int]] = field(default_factory=dict)


def open_matches(path: str, where: ProcessFiles) -> list[OpenFile]:
    """Return the open files that are the file at `path`, as the process sees that path."""
    if path.startswith("/dev/fdset/"):
        fds = where.fd_sets.get(int(number)) if (number := path.removeprefix("/dev/fdset/")).isdecimal() else None
        inside = {file.identity for file in where.files if fds and file.fd in fds}
        return [file for file in where.files if file.identity in inside]
    found = path_identity(path, where.process)
    by_identity = [file for file in where.files if file.identity == found]
    # the name may be gone, or lead somewhere else for us than for the process
    return by_identity or [file for file in where.files if file.path == path] or _by_tail(path, where)


def _by_tail(path: str, where: ProcessFiles) -> list[OpenFile]:
    """Match a relative name of a process that has moved to / since (qemu-nbd, -daemonize)."""
    parts = Path(path).parts
    if path.startswith("/") or not parts or ".." in parts:
        return []
    found = [file for file in where.files if Path(file.path).parts[-len(parts) :] == parts]
    return found if len({file.identity for file in found}) == 1 else []


def path_identity(path: str, process: Path) -> FileIdentity | None:
    """Return what a path leads to in the process's own view; None if nothing that can be reached."""
    place = process / "root" / path.lstrip("/") if path.startswith("/") else process / "cwd" / path
    try:
        status = place.stat()
    except (OSError, ValueError):
        return None
    return identity_of(status)


def best_match(matches: list[OpenFile], chain: ImageChain) -> OpenFile:
    """Of several descriptors of one file take the one that agrees best with the command line."""
    return min(
        matches,
        key=lambda file: (
            file.is_writable == bool(chain.is_read_only),
            chain.is_direct is not None and file.is_direct != chain.is_direct,
            file.fd,
        ),
    )


def probed_format(process: Path, file: OpenFile) -> str:
    """Tell qcow2 from raw as QEMU does without `format=`; four bytes are read, and none kept."""
    try:
        fd = os.open(process / "fd" / str(file.fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return "qcow2" if os.pread(fd, 4, 0) == _QCOW2_MAGIC else "raw"
    except OSError:
        return ""
    finally:
        os.close(fd)


def block_size(file: OpenFile, roots: HostRoots) -> int | None:
    """Return the size of an open block device in bytes."""
    place = roots.sys / "dev" / "block" / f"{file.device[0]}:{file.device[1]}" / "size"
    try:
        return int(place.read_text()) * 512
    except (OSError, ValueError):
        return None
