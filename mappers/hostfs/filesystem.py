"""Host file systems: which one a file is on, and whether FIEMAP's addresses there are the device's."""

import ctypes
import fcntl
import os
import struct

NAMES = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x7461636F: "ocfs2",
    0x01021994: "tmpfs",
    0x794C7630: "overlay",
    0x6969: "nfs",
    0x65735546: "fuse",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0x73717368: "squashfs",
    0x858458F6: "ramfs",
}
DEVICE_ADDRESSED = frozenset({"ext4", "xfs", "ocfs2"})
"""File systems (ext2 and ext3 count as ext4) whose FIEMAP addresses are bytes of the device `st_dev`."""

FS_IOC_FSGETXATTR = 0x801C581F
FS_XFLAG_REALTIME = 0x1
_FSXATTR = struct.Struct("=IIIII8x")


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


_libc = ctypes.CDLL(None, use_errno=True)


def file_system_of(fd: int) -> str:
    """Name the file system that an open file is on; one that is not known is named by its magic number."""
    result = _StatFs()
    if _libc.fstatfs(fd, ctypes.byref(result)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    magic = result.f_type & 0xFFFFFFFF
    return NAMES.get(magic, f"file system {magic:#x}")


def why_not_mapped(fd: int) -> str | None:
    """Say why FIEMAP's addresses of this file are not those of its device; None where they are."""
    name = file_system_of(fd)
    if name not in DEVICE_ADDRESSED:
        return f"{name} is not mapped yet"
    if name == "xfs" and _is_realtime(fd):
        return "an xfs realtime file lies on another device than the file system"
    return None


def _is_realtime(fd: int) -> bool:
    attributes = bytearray(_FSXATTR.size)
    fcntl.ioctl(fd, FS_IOC_FSGETXATTR, attributes)
    return bool(_FSXATTR.unpack(attributes)[0] & FS_XFLAG_REALTIME)
