"""Names of address spaces: the strings by which maps, spans and devices find each other."""

import os


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
