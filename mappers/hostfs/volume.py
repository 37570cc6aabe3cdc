"""An image inside an OCFS2 volume that is not mounted: `opened_volume(device)`, then its files by their paths there."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vio.errors import MapError
from vio.mappers.hostfs.ocfs2 import find_inode, map_inode, read_geometry, read_inode
from vio.mappers.images import Named
from vio.mappers.openfile import VolumeFile
from vio.mappers.space import file_space, space_of
from vio.printable import printable

_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Volume:
    """An open volume; `notes` say what may be missing from what is read of it."""

    fd: int
    name: str
    notes: tuple[str, ...] = ()

    def find(self, path: Path) -> VolumeFile:
        """Find a file by its path below the volume's root.

        Raises:
            MapError: It is no regular file, or the volume cannot be believed.
            UsageError: There is no such file.
        """
        geometry = read_geometry(self.fd)
        inode = read_inode(self.fd, geometry, find_inode(self.fd, geometry, str(path)))
        if not stat.S_ISREG(inode.mode):
            raise MapError(f"{printable(str(path))} in {printable(self.name)} is no regular file")
        ranges = map_inode(self.fd, geometry, inode, self._space(inode.block), space_of(self.fd))
        name = f"{path} in {self.name}"
        return VolumeFile(name, path, inode.size, geometry.cluster, "ocfs2", ranges, self.fd, self.find, self.notes)

    def _space(self, inode: int) -> str:
        """Name a file's space as it would be called if the volume were mounted; of a copy of a volume, by the copy."""
        status = os.fstat(self.fd)
        return file_space(status.st_rdev, inode) if stat.S_ISBLK(status.st_mode) else f"{space_of(self.fd)}:{inode}"

    def open_named(self, named: Named) -> VolumeFile:
        """Open what an image of the volume names relative to itself: for images whose owner says so.

        Raises:
            MapError: It is named otherwise, or is not there.
        """
        name = Path(named.name)
        if name.is_absolute() or ":" in name.parts[0]:
            raise MapError(f"{printable(named.name)} is no path inside the volume")
        return self.find(Path(os.path.normpath(named.directory / name)))


@contextmanager
def opened_volume(device: Path, mounts: Path = _MOUNTS) -> Iterator[Volume]:
    """Open a device, or a file that is a copy of one, for reading.

    Raises:
        OSError: It cannot be opened.
    """
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield Volume(fd, str(device), _notes(os.fstat(fd), mounts))
    finally:
        os.close(fd)


def _notes(status: os.stat_result, mounts: Path) -> tuple[str, ...]:
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    lines = mounts.read_text(errors="replace").splitlines()
    if stat.S_ISBLK(status.st_mode) and any(line.split()[2] == number for line in lines):
        return ("the volume is mounted here: what is only in its journal is missing; map the file where it is mounted",)
    return ()
