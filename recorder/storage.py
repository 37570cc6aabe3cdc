"""The host's device and file system below an open file."""

import os
from dataclasses import dataclass
from pathlib import Path

from vio.recorder.procfs import HostRoots, Mount, OpenFile

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "lustre"})


@dataclass(frozen=True, slots=True)
class HostDevice:
    """What lies below a disk's file: "" for a name that does not exist (memory, network).

    `superblock` is the device number that the kernel's own events have for the file: btrfs shows programs another one.
    """

    name: str
    major: int
    minor: int
    fs_type: str = ""
    mount_point: str = ""
    note: str = ""
    superblock: tuple[int, int] = (0, 0)


def device_below(file: OpenFile, mounts: list[Mount], roots: HostRoots) -> HostDevice:
    """Find the block device that holds an open file; `mounts` are those of its process."""
    if file.is_block_device:
        return HostDevice(_device_name(file.device, roots.sys), *file.device)
    mount = next((mount for mount in mounts if mount.mount_id == file.mount_id), None)
    mount = mount or next((mount for mount in mounts if mount.device == file.device), None)
    if not mount:
        name = _device_name(file.device, roots.sys)
        return HostDevice(name, *file.device, note="its mount is not visible", superblock=file.device)
    device = file.device
    name = _device_name(device, roots.sys)
    if not name and (source := _source_device(mount.source)):
        # btrfs and others give their files device numbers of their own
        device, name = source, _device_name(source, roots.sys)
    note = _note(mount.fs_type, name)
    return HostDevice(name, *device, mount.fs_type, mount.mount_point, note, mount.device)


def _device_name(device: tuple[int, int], sys: Path) -> str:
    try:
        return (sys / "dev" / "block" / f"{device[0]}:{device[1]}").readlink().name
    except OSError:
        return ""


def _source_device(source: str) -> tuple[int, int] | None:
    if not source.startswith("/dev/"):
        return None
    try:
        number = Path(source).stat().st_rdev
    except OSError:
        return None
    return (os.major(number), os.minor(number)) if number else None


def _note(fs_type: str, name: str) -> str:
    if fs_type in _IN_MEMORY:
        return f"{fs_type} keeps it in memory: no device takes part"
    if fs_type in _NETWORK:
        return f"{fs_type} keeps it on another machine: no block device of this host takes part"
    if fs_type == "overlay":
        return "an overlay file system hides the device below it"
    return "" if name else f"{fs_type} does not say which device holds it"
