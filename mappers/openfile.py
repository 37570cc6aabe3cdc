"""An image's file as it is read: a descriptor, or a file inside a volume that is not mounted, by its map.

`vio list` reads headers, too, and need not wait for NumPy: it is imported where a map is used.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vio.mappers.space import size_of, space_of

if TYPE_CHECKING:
    from vio.mappers.extent import RangeMap


@dataclass(frozen=True, slots=True, eq=False)
class VolumeFile:
    """A file inside a volume that is open as `volume`, which stays the caller's; `ranges` leads there.

    `name` is for people; `find` opens another file of the volume, by a path beginning at its root.
    """

    name: str
    path: Path
    size: int
    block_bytes: int
    file_system: str
    ranges: "RangeMap"
    volume: int
    find: "Callable[[Path], VolumeFile]"
    notes: tuple[str, ...] = ()

    @property
    def space(self) -> str:
        """The address space of the file."""
        return self.ranges.source_space

    def read_at(self, size: int, offset: int) -> bytes:
        """Read as a mounted file system would: holes and what was never written are zeroes."""
        import numpy as np

        from vio.mappers.kind import Flag, Kind

        end = min(offset + size, self.size)
        data = bytearray(max(0, end - offset))
        if not data:
            return b""
        pieces = self.ranges.lookup(offset, end - offset)
        unwritten = pieces.kind & np.uint8(Flag.UNWRITTEN) != 0
        rows = np.flatnonzero((pieces.target >= 0) & ~unwritten & (pieces.kind != Kind.UNALLOCATED))
        columns = (column[rows].tolist() for column in (pieces.start, pieces.length, pieces.target))
        for start, length, target in zip(*columns, strict=True):
            piece = os.pread(self.volume, length, target)
            data[start - offset : start - offset + len(piece)] = piece
        return bytes(data)


File = int | VolumeFile
"""A descriptor, or a file inside a volume."""


def read_at(file: File, size: int, offset: int) -> bytes:
    """Read from a place on; fewer bytes where the file ends."""
    return os.pread(file, size, offset) if isinstance(file, int) else file.read_at(size, offset)


def read_into(file: File, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from a place on; return how many bytes there were."""
    if isinstance(file, int):
        return os.preadv(file, [buffer], offset)
    data = file.read_at(buffer.nbytes, offset)
    buffer.cast("B")[: len(data)] = data
    return len(data)


def file_size(file: File) -> int:
    """Tell the size in bytes, of a block device too."""
    return size_of(file) if isinstance(file, int) else file.size


def space_of_file(file: File) -> str:
    """Name the address space."""
    return space_of(file) if isinstance(file, int) else file.space


def path_of(file: File) -> Path:
    """Return the path that the kernel has for a descriptor, or that of the file inside its volume."""
    if not isinstance(file, int):
        return file.path
    return Path(str(Path(f"/proc/self/fd/{file}").readlink()).removesuffix(" (deleted)"))


def name_of_file(file: File) -> str:
    """Name the file for people; not yet printable."""
    return str(path_of(file)) if isinstance(file, int) else file.name
