"""What lies under the disks to record: files of images, loop devices' files, partitions and disks of this host."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from vio.errors import MapError
from vio.manifest import DeviceInfo, FileInfo, StretchInfo
from vio.mappers.device.loop import Backing, loop_backing, open_backing
from vio.mappers.device.mapping import mapping_of
from vio.mappers.device.tree import Device, DeviceKind, DeviceTree
from vio.mappers.hostfs.filesystem import file_system_of
from vio.mappers.space import file_space
from vio.recorder.disks import Disk
from vio.recorder.imagechain import ChainFile
from vio.recorder.storage import HostDevice

MINOR_BITS = 20


def kernel_dev(dev: int) -> int:
    """Turn a device number of stat() into the kernel's encoding, which tracepoints have."""
    return os.major(dev) << MINOR_BITS | os.minor(dev)


@dataclass(slots=True)
class Ground:
    """The host's devices and files that the disks lie upon; `notes` say what could not be looked at.

    `file_systems` are the kinds that the files are on; "" among them is one that could not be told.
    """

    devices: list[DeviceInfo] = field(default_factory=list)
    files: list[FileInfo] = field(default_factory=list)
    file_systems: set[str] = field(default_factory=set)
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
        for file in disk.chain:
            survey.add_chain_file(file)
    return survey.ground


def _describe(device: Device, tree: DeviceTree) -> DeviceInfo:
    mapping = mapping_of(device, tree)
    return DeviceInfo(
        device.name,
        device.kind,
        device.major,
        device.minor,
        kernel_dev(device.dev),
        device.size,
        device.note,
        tuple(map(kernel_dev, device.parents)),
        mapping.name,
        tuple(
            StretchInfo(one.start, one.length, kernel_dev(one.parent), one.parent_start) for one in mapping.stretches
        ),
    )


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
        self._add_on(disk.path, dev, disk.inode or 0, disk.below)

    def add_chain_file(self, file: ChainFile) -> None:
        dev = os.makedev(*file.device)
        if file.is_block_device:
            self._add_device(dev)
            return
        self._add_on(file.path, dev, file.inode, file.below)

    def _add_on(self, path: str, dev: int, inode: int, below: HostDevice | None) -> None:
        self.ground.file_systems.add(_driver(below.fs_type) if below else "")
        self._add_file(path, dev, inode, os.makedev(*below.superblock) if below else dev)
        self._add_device(os.makedev(below.major, below.minor) if below and below.name else dev)

    def _add_file(self, path: str, dev: int, inode: int, superblock: int) -> None:
        info = FileInfo(path, kernel_dev(superblock), inode, file_space(dev, inode))
        if info.space not in {file.space for file in self.ground.files}:
            self.ground.files.append(info)

    def _add_device(self, dev: int) -> None:
        try:
            stack = self.tree.stack(dev)
        except MapError as error:
            self.ground.notes.append(str(error))
            return
        for device in stack:
            if kernel_dev(device.dev) in self.ground.kernel_devs:
                continue
            self.ground.devices.append(_describe(device, self.tree))
            if device.kind is DeviceKind.LOOP:
                self._add_loop(device.name)

    def _add_loop(self, name: str) -> None:
        try:
            backing = loop_backing(self.tree.sys / "block" / name, self.tree.dev)
        except MapError as error:
            self.ground.notes.append(str(error))
            return
        if backing.is_file:
            self.ground.file_systems.add(_file_system_of(backing))
            self._add_file(str(backing.path), backing.dev, backing.inode, backing.dev)


def _driver(fs_type: str) -> str:
    """Name the module that drives a file system: ext4's drives ext2 and ext3 too."""
    return "ext4" if fs_type in {"ext2", "ext3"} else fs_type


def _file_system_of(backing: Backing) -> str:
    try:
        fd = open_backing(backing)
    except (OSError, MapError):
        return ""
    try:
        return file_system_of(fd)
    except OSError:
        return ""
    finally:
        os.close(fd)
