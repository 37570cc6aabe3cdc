"""Walk a file system through one of the libfs libraries: every file and directory, and where its extents lie."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from vio.errors import MapError
from vio.mappers.kind import Ints

SPARSE = 1
MAX_ENTRIES = 20_000_000
MAX_PATH = 16_384
LAST_BYTE = 1 << 62


class Entry(Protocol):
    """A file or directory, as the libraries of libyal show it."""

    @property
    def name(self) -> str | None:
        """Its name, None for the root."""

    @property
    def number_of_extents(self) -> int:
        """How many extents it has, holes included."""

    @property
    def number_of_sub_file_entries(self) -> int:
        """How many entries a directory has."""

    def get_extent(self, index: int) -> tuple[int, int, int]:
        """Return byte offset in the volume, length, and flags of an extent."""

    def get_sub_file_entry(self, index: int) -> Self:
        """Return an entry of a directory."""

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        """Read from the file."""


@dataclass(slots=True)
class Walked:
    """The extents of all files: `owner` indexes `paths`; bytes of the volume, and of the file."""

    paths: list[str] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    unreadable: int = 0

    def columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return start, length, owner and offset as arrays."""
        start, length, owner, offset = (
            np.array(column, dtype=np.int64) for column in (self.start, self.length, self.owner, self.offset)
        )
        return start, length, owner, offset

    def add(self, path: str, entry: Entry, keeps_sparse: bool = False) -> None:
        """Add an entry's extents; holes are left out, unless the library calls unwritten extents so."""
        self.paths.append(path)
        owner, offset = len(self.paths) - 1, 0
        for index in range(entry.number_of_extents):
            start, length, flags = entry.get_extent(index)
            if max(start, length, offset) >= LAST_BYTE:
                raise OSError("an extent that cannot be")
            if start > 0 and length > 0 and (keeps_sparse or not flags & SPARSE):
                self.start.append(start)
                self.length.append(length)
                self.owner.append(owner)
                self.offset.append(offset)
            offset += length


def walk_entries(root: Entry, keeps_sparse: bool = False) -> Walked:
    """Walk a directory and all below it; what the library cannot read is counted.

    Raises:
        MapError: There are more entries than any real file system has, as where it contains itself.
    """
    walked = Walked()
    for path, entry in _below(root, walked):
        try:
            walked.add(path, entry, keeps_sparse)
        except OSError:
            # Symbolic links kept in the inode, devices and the like have no extents to ask for.
            walked.unreadable += 1
    return walked


def _below(root: Entry, walked: Walked) -> Iterator[tuple[str, Entry]]:
    waiting: list[tuple[str, Entry]] = [("", root)]
    count = 0
    while waiting:
        path, directory = waiting.pop()
        yield path or "/", directory
        try:
            children = [directory.get_sub_file_entry(n) for n in range(directory.number_of_sub_file_entries)]
        except OSError:
            walked.unreadable += 1
            continue
        for child in children:
            count += 1
            below = f"{path}/{child.name or '?'}"
            if count > MAX_ENTRIES or len(below) > MAX_PATH:
                raise MapError("the guest's file system has more entries or longer paths than can be: is it damaged?")
            if child.number_of_sub_file_entries:
                waiting.append((below, child))
            else:
                yield below, child
