"""Host block devices as /sys describes them: partition, loop device, disk, and what each lies upon."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vio.errors import MapError
from vio.mappers.device.loop import loop_backing
from vio.mappers.extent import RangeMap
from vio.mappers.raw import map_raw
from vio.mappers.space import device_space, file_space

SECTOR = 512
"""Unit of `start` and `size` in /sys, whatever the device's own sector size is."""


class DeviceKind(StrEnum):
    """What sort of block device it is."""

    PARTITION = "partition"
    LOOP = "loop"
    DISK = "disk"
    DM = "dm"
    MD = "md"
    NVME = "nvme"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Device:
    """A block device; `parents` are the device numbers one storey down, `note` says what hides them."""

    major: int
    minor: int
    name: str
    kind: DeviceKind
    size: int
    """Bytes."""
    parents: tuple[int, ...] = ()
    note: str = ""

    @property
    def dev(self) -> int:
        """The device number, as `st_rdev` has it."""
        return os.makedev(self.major, self.minor)


@dataclass(frozen=True, slots=True)
class DeviceTree:
    """The block devices of a host, read from `sys` at each call; `dev` is where their nodes are."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")

    def find(self, dev: int) -> Device:
        """Describe a device by its number; raise MapError if the host has no such block device."""
        path = self._path(dev)
        kind = _kind_of(path)
        parents, note = self._parents(path, kind)
        size = _number(path / "size") * SECTOR
        return Device(os.major(dev), os.minor(dev), path.name, kind, size, parents, note)

    def stack(self, dev: int) -> list[Device]:
        """List a device and all that it lies upon, top first, each once; loop devices are seen through."""
        stack: list[Device] = []
        waiting = [dev]
        while waiting:
            number = waiting.pop(0)
            if any(device.dev == number for device in stack):
                continue
            device = self.find(number)
            stack.append(device)
            waiting.extend(parent for parent in device.parents if self._has(parent))
        return stack

    def map_down(self, device: Device) -> RangeMap | None:
        """Map a device to what lies directly below it; None for a device with nothing below.

        Raises:
            MapError: It lies upon others in a way that is not mapped yet (device mapper, md ...).
        """
        source = device_space(device.dev)
        path = self._path(device.dev)
        if device.kind is DeviceKind.PARTITION:
            start = _number(path / "start") * SECTOR
            return map_raw(device.size, source, device_space(device.parents[0]), start)
        if device.kind is DeviceKind.LOOP:
            backing = loop_backing(path, self.dev)
            target = file_space(backing.dev, backing.inode) if backing.is_file else device_space(backing.dev)
            return map_raw(device.size, source, target, backing.offset)
        if device.kind in (DeviceKind.DM, DeviceKind.MD) or device.parents:
            raise MapError(f"{device.name}: a {device.kind} device is not mapped yet")
        return None

    def _path(self, dev: int) -> Path:
        link = self.sys / "dev" / "block" / f"{os.major(dev)}:{os.minor(dev)}"
        try:
            return link.resolve(strict=True)
        except OSError as error:
            raise MapError(f"there is no block device {os.major(dev)}:{os.minor(dev)} in {self.sys}") from error

    def _has(self, dev: int) -> bool:
        return (self.sys / "dev" / "block" / f"{os.major(dev)}:{os.minor(dev)}").exists()

    def _parents(self, path: Path, kind: DeviceKind) -> tuple[tuple[int, ...], str]:
        if kind is DeviceKind.PARTITION:
            return (_dev_of(path.parent),), ""
        if kind is DeviceKind.LOOP:
            try:
                backing = loop_backing(path, self.dev)
            except MapError as error:
                return (), str(error)
            note = "" if self._has(backing.dev) else "its backing file is on no block device"
            return (backing.dev,), note
        slaves = path / "slaves"
        if not slaves.is_dir():
            return (), ""
        return tuple(_dev_of(slave) for slave in sorted(slaves.iterdir())), ""


def device_stack(dev: int, tree: DeviceTree | None = None) -> list[Device]:
    """List the devices that IO to device number `dev` goes through, top first."""
    return (tree or DeviceTree()).stack(dev)


def _kind_of(path: Path) -> DeviceKind:
    if (path / "partition").exists():
        return DeviceKind.PARTITION
    if (path / "dm").is_dir():
        return DeviceKind.DM
    if (path / "md").is_dir():
        return DeviceKind.MD
    if (path / "loop").is_dir():
        return DeviceKind.LOOP
    if path.name.startswith("nvme"):
        return DeviceKind.NVME
    return DeviceKind.DISK if (path / "device").exists() else DeviceKind.OTHER


def _dev_of(path: Path) -> int:
    text = _text(path / "dev")
    major, _, minor = text.partition(":")
    if not (major.isdecimal() and minor.isdecimal()):
        raise MapError(f"{path}/dev: {text!r} is no device number")
    return os.makedev(int(major), int(minor))


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise MapError(f"{path}: {text!r} is no number")
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise MapError(f"{path}: {error.strerror}") from error
