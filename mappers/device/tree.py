"""Host block devices as /sys describes them: partition, loop device, disk, and what each lies upon."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np

from vio.errors import MapError
from vio.mappers.device.dm import Segment, map_table, parse_table, read_table
from vio.mappers.device.loop import loop_backing
from vio.mappers.device.md import map_array, read_array
from vio.mappers.device.nvmepaths import device_numbers, path_names
from vio.mappers.device.stripes import Copies
from vio.mappers.device.sysfile import read_dev, read_number, read_text
from vio.mappers.device.thin import STALE, map_volume, opened_metadata, parse_pool, parse_volume, upon_origin
from vio.mappers.device.thinmeta import read_volume
from vio.mappers.kind import Ints
from vio.mappers.raw import map_raw
from vio.mappers.space import device_space, file_space
from vio.printable import printable

SECTOR = 512
"""Unit of `start` and `size` in /sys, whatever the device's own sector size is."""
WHOLE_BYTES = 16 << 30
"""Striped devices up to this size are mapped whole: a map has a row for each chunk."""


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
    about: str = ""
    """What it is, where its kind does not say all: `md raid1`, `LVM`."""

    @property
    def dev(self) -> int:
        """The device number, as `st_rdev` has it."""
        return os.makedev(self.major, self.minor)


@dataclass(frozen=True, slots=True)
class Below:
    """How a device lies upon those below: a map for each device and copy; `notes` on what these may lack."""

    maps: Copies = field(default_factory=list)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceTree:
    """The block devices of a host, read from `sys` at each call; `dev` is where their nodes are.

    `read_table` gives the device mapper's table of a device by its name, `diskstats` has the numbers of hidden devices.
    """

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    diskstats: Path = Path("/proc/diskstats")
    read_table: Callable[[str], str] = read_table

    def find(self, dev: int) -> Device:
        """Describe a device by its number; raise MapError if the host has no such block device."""
        path = self._path(dev)
        kind = _kind_of(path)
        parents, note = self._parents(path, kind)
        size = read_number(path / "size") * SECTOR
        return Device(os.major(dev), os.minor(dev), path.name, kind, size, parents, note, _about(path, kind))

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

    def maps_down(self, device: Device, within: tuple[Ints, Ints] | None = None) -> Below:
        """Map a device to what lies directly below it; no maps where nothing is.

        Of a very large striped or thin device only the ranges `within` (begins, ends) are mapped.

        Raises:
            MapError: It lies upon others in a way that is not mapped, or /sys cannot be believed.
        """
        source, path = device_space(device.dev), self._path(device.dev)
        if device.kind is DeviceKind.PARTITION:
            start = read_number(path / "start") * SECTOR
            return Below([(map_raw(device.size, source, device_space(device.parents[0]), start), 0)])
        if device.kind is DeviceKind.LOOP:
            backing = loop_backing(path, self.dev)
            target = file_space(backing.dev, backing.inode) if backing.is_file else device_space(backing.dev)
            return Below([(map_raw(device.size, source, target, backing.offset), 0)])
        if device.kind is DeviceKind.DM:
            notes: list[str] = []
            map_thin = partial(self._map_thin, notes)
            maps = map_table(source, self.segments_of(device), _whole_or(within, device.size), map_thin)
            return Below(maps, tuple(notes))
        if device.kind is DeviceKind.MD:
            return Below(map_array(source, read_array(path, device.size), _whole_or(within, device.size)))
        if device.kind is DeviceKind.NVME:
            paths = enumerate(map(device_space, device.parents))
            return Below([(map_raw(device.size, source, path), copy) for copy, path in paths])
        if device.parents:
            raise MapError(f"{device.name}: how it lies upon the devices below is not known")
        return Below()

    def segments_of(self, device: Device) -> tuple[Segment, ...]:
        """Read the table of a device of the mapper; raise MapError if it is hidden, or makes no sense."""
        return parse_table(self.read_table(read_text(self._path(device.dev) / "dm" / "name")))

    def level_of(self, device: Device) -> str:
        """Name the level of an md array: `raid1`; raise MapError if it is hidden."""
        return read_text(self._path(device.dev) / "md" / "level")

    def _map_thin(self, notes: list[str], source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
        said = parse_volume(segment)
        pool = parse_pool(self.segments_of(self.find(said.pool)))
        with opened_metadata(self.dev / self._path(pool.metadata).name, pool.metadata) as read:
            volume = read_volume(read, said.number, pool.unit_bytes, within)
        if volume.is_held:
            notes.append(STALE)
        ranges = map_volume(source, device_space(pool.data), segment, volume, within)
        if said.origin is None:
            return [(ranges, 0)]
        return upon_origin(ranges, segment, device_space(said.origin), self.find(said.origin).size)

    def _path(self, dev: int) -> Path:
        link = self.sys / "dev" / "block" / f"{os.major(dev)}:{os.minor(dev)}"
        if not link.exists():
            link = self._hidden(dev) or link
        try:
            return link.resolve(strict=True)
        except OSError as error:
            raise MapError(f"there is no block device {os.major(dev)}:{os.minor(dev)} in {self.sys}") from error

    def _hidden(self, dev: int) -> Path | None:
        names = (name for name, number in device_numbers(self.diskstats).items() if number == dev)
        found = next((self.sys / "block" / name for name in names), None)
        return found if found and found.exists() else None

    def _has(self, dev: int) -> bool:
        shown = self.sys / "dev" / "block" / f"{os.major(dev)}:{os.minor(dev)}"
        return shown.exists() or self._hidden(dev) is not None

    def _parents(self, path: Path, kind: DeviceKind) -> tuple[tuple[int, ...], str]:
        if kind is DeviceKind.PARTITION:
            return (read_dev(path.parent),), ""
        if kind is DeviceKind.LOOP:
            try:
                backing = loop_backing(path, self.dev)
            except MapError as error:
                return (), str(error)
            note = "" if self._has(backing.dev) else "its backing file is on no block device"
            return (backing.dev,), note
        if kind is DeviceKind.NVME and (paths := path_names(path)):
            numbers = device_numbers(self.diskstats)
            known = tuple(numbers[name] for name in paths if name in numbers)
            return known, "" if len(known) == len(paths) else f"{self.diskstats} has not all of its paths"
        slaves = path / "slaves"
        if not slaves.is_dir():
            return (), ""
        return tuple(read_dev(slave) for slave in sorted(slaves.iterdir())), ""


def device_stack(dev: int, tree: DeviceTree | None = None) -> list[Device]:
    """List the devices that IO to device number `dev` goes through, top first."""
    return (tree or DeviceTree()).stack(dev)


def _about(path: Path, kind: DeviceKind) -> str:
    """Say more than the kind, as far as /sys does."""
    try:
        if (path / "hidden").exists() and read_text(path / "hidden") == "1":
            return f"{kind} path, hidden"
        if kind is DeviceKind.MD:
            return f"md {printable(read_text(path / 'md' / 'level'))}"
        if kind is DeviceKind.DM:
            return f"device mapper ({printable(read_text(path / 'dm' / 'name'))})"
    except MapError:
        pass
    return ""


def _whole_or(within: tuple[Ints, Ints] | None, size: int) -> tuple[Ints, Ints]:
    if within is not None and size > WHOLE_BYTES:
        return within
    return np.zeros(1, dtype=np.int64), np.array([size], dtype=np.int64)


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
