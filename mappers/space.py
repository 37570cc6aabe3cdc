"""Names of address spaces: the strings by which maps, spans and devices find each other."""

import fcntl
import os
import stat
import sys

BLKGETSIZE64 = 0x80081272


def guest_space(disk: str) -> str:
    """Name a guest's virtual disk; addresses are bytes from its start."""
    return f"guest:{disk}"


def tables_space(image: str) -> str:
    """Name the part of an image file (a space) that holds the image's own tables; addresses are the file's."""
    return f"tables:{image}"


def file_space(dev: int, inode: int) -> str:
    """Name a host file by `st_dev` and inode; addresses are byte offsets in it."""
    return f"file:{os.major(dev)}:{os.minor(dev)}:{inode}"


def device_space(dev: int) -> str:
    """Name a host block device by its number; addresses are bytes from its start."""
    return f"dev:{os.major(dev)}:{os.minor(dev)}"


def device_of(space: str) -> int | None:
    """Give the device number of a device space, None for a space of another sort."""
    sort, _, rest = space.partition(":")
    major, _, minor = rest.partition(":")
    if sort != "dev" or not (major.isdecimal() and minor.isdecimal()):
        return None
    return os.makedev(int(major), int(minor))


def space_of(fd: int) -> str:
    """Name the address space of an open host file or block device."""
    status = os.fstat(fd)
    if stat.S_ISBLK(status.st_mode):
        return device_space(status.st_rdev)
    return file_space(status.st_dev, status.st_ino)


def size_of(fd: int) -> int:
    """Tell the size of an open file or block device in bytes."""
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return status.st_size
    answer = bytearray(8)
    fcntl.ioctl(fd, BLKGETSIZE64, answer)
    return int.from_bytes(answer, sys.byteorder)
