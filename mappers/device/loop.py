"""Loop devices: the file that one lies upon, made sure to be that file."""

import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from vio.errors import MapError

LOOP_GET_STATUS64 = 0x4C05
_STATUS = struct.Struct("=QQ216x")


@dataclass(frozen=True, slots=True)
class Backing:
    """What a loop device lies upon: a file, or a block device whose number is `dev` then.

    `dev` is the `st_dev` of the file, `offset` the byte at which the loop device begins in it.
    """

    path: Path
    dev: int
    inode: int
    offset: int
    is_file: bool


def loop_backing(sys_path: Path, dev_root: Path) -> Backing:
    """Find the backing of the loop device at `sys_path` (/sys/block/loopN).

    The path that the kernel gives may have been renamed, replaced, or be of another mount namespace, so what
    is there is compared with what the device itself says. Raises MapError if it is another, or none.
    """
    try:
        path = Path((sys_path / "loop" / "backing_file").read_text().rstrip("\n"))
        offset = int((sys_path / "loop" / "offset").read_text())
    except (OSError, ValueError) as error:
        raise MapError(f"{sys_path.name}: it has no backing file") from error
    try:
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        raise MapError(f"{sys_path.name}: its backing file {path} cannot be reached from here") from error
    bound = _bound_to(dev_root / sys_path.name)
    if bound is not None and bound != (found.st_dev, found.st_ino):
        raise MapError(f"{sys_path.name}: {path} is no longer the file that it lies upon")
    if stat.S_ISBLK(found.st_mode):
        return Backing(path, found.st_rdev, found.st_ino, offset, is_file=False)
    if not stat.S_ISREG(found.st_mode):
        raise MapError(f"{sys_path.name}: {path} is neither a file nor a block device")
    return Backing(path, found.st_dev, found.st_ino, offset, is_file=True)


def open_backing(backing: Backing) -> int:
    """Open a backing file for reading; raise MapError if it was replaced meanwhile. The caller closes it."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(backing.path, flags)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != (backing.dev, backing.inode):
        os.close(fd)
        raise MapError(f"{backing.path} was replaced while it was looked at")
    return fd


def _bound_to(node: Path) -> tuple[int, int] | None:
    """Ask the loop device which file (device, inode) it holds; None if it may not be asked."""
    status = bytearray(_STATUS.size)
    try:
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.ioctl(fd, LOOP_GET_STATUS64, status)
    except OSError:
        return None
    finally:
        os.close(fd)
    dev, inode = _STATUS.unpack(status)
    return dev, inode
