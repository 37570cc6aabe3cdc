"""Write the "newc" cpio archives that the Linux kernel unpacks as an initramfs."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its absolute path in the guest, its file mode with type bits, its content."""

    path: str
    mode: int
    content: bytes = b""


def file_entry(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """Make a regular file."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def archive(entries: Iterable[Entry]) -> bytes:
    """Give the archive of `entries` and of every directory above them; the kernel takes several in a row."""
    listed = {entry.path: entry for entry in entries}
    missing = {str(parent) for path in listed for parent in PurePosixPath(path).parents} - {"/", *listed}
    directories = [Entry(path, stat.S_IFDIR | 0o755) for path in sorted(missing)]
    members = [*directories, *listed.values(), Entry(_TRAILER, 0)]
    packed = b"".join(_member(number, entry) for number, entry in enumerate(members, start=1))
    return _padded(packed, 512)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.path.lstrip("/").encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name, 4) + _padded(entry.content, 4)


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)
