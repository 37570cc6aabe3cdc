"""What lies under the disks to record: image files, loop devices' files, partitions and disks of this host."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from vio.errors import MapError
from vio.manifest import DeviceInfo, FileInfo
from vio.mappers.device.loop import loop_backing
from vio.mappers.device.tree import DeviceKind, DeviceTree
from vio.mappers.space import file_space
from vio.recorder.disks import Disk

MINOR_BITS = 20


def kernel_dev(dev: int) -> int:
    """Turn a device number of stat() into the kernel's encoding, which tracepoints have."""
    return os.major(dev) << MINOR_BITS | os.minor(dev)


@dataclass(slots=True)
class Ground:
    """The host's devices and files that the disks lie upon; `notes` say what could not be looked at."""

    devices: list[DeviceInfo] = field(default_factory=list)
    files: list[FileInfo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def kernel_devs(self) -> tuple[int, ...]:
        """Return the device numbers as tracepoints have them."""
        return tuple(device.kernel_dev for device in self.devices)

    @property
    def file_ids(self) -> tuple[tuple[int, int], ...]:
        """Return (device, inode) of the files as tracepoints have them."""
        return tuple((file.kernel_dev, file.inode) for file in self.files)


def find_ground(disks: Iterable[Disk], tree: DeviceTree | None = None) -> Ground:
    """Find all that lies under the disks."""
    survey = _Survey(tree or DeviceTree(), Ground())
    for disk in disks:
        survey.add_disk(disk)
    return survey.ground


@dataclass(frozen=True, slots=True)
class _Survey:
    tree: DeviceTree
    ground: Ground

    def add_disk(self, disk: Disk) -> None:
        if disk.device is None:
            return
        dev = os.makedev(*disk.device)
        if disk.is_block_device:
            self._add_device(dev)
            return
        self._add_file(disk.path, dev, disk.inode or 0)
        below = disk.below
        self._add_device(os.makedev(below.major, below.minor) if below and below.name else dev)

    def _add_file(self, path: str, dev: int, inode: int) -> None:
        info = FileInfo(path, kernel_dev(dev), inode, file_space(dev, inode))
        if info.space not in {file.space for file in self.ground.files}:
            self.ground.files.append(info)

    def _add_device(self, dev: int) -> None:
        try:
            stack = self.tree.stack(dev)
        except MapError as error:
            self.ground.notes.append(str(error))
            return
        for device in stack:
            info = DeviceInfo(
                device.name, device.kind, device.major, device.minor, kernel_dev(device.dev), device.size, device.note
            )
            if info.kernel_dev in self.ground.kernel_devs:
                continue
            self.ground.devices.append(info)
            if device.kind is DeviceKind.LOOP:
                self._add_loop(device.name)

    def _add_loop(self, name: str) -> None:
        try:
            backing = loop_backing(self.tree.sys / "block" / name, self.tree.dev)
        except MapError as error:
            self.ground.notes.append(str(error))
            return
        if backing.is_file:
            self._add_file(str(backing.path), backing.dev, backing.inode)
