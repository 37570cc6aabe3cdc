"""A host file as maps to the devices of its file system, whichever file system that is."""

import os
from dataclasses import dataclass

from vio.mappers.extent import RangeMap
from vio.mappers.hostfs.btrfs import map_btrfs_file
from vio.mappers.hostfs.fiemap import map_file
from vio.mappers.hostfs.filesystem import file_system_of, why_not_mapped
from vio.mappers.space import device_of, device_space


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file's maps, each with the number of the copy that it is of; or why there are none.

    `extents` is what FIEMAP said, `devices` the device numbers below, `block_bytes` the file system's block.
    """

    file_system: str
    extents: RangeMap
    maps: tuple[tuple[RangeMap, int], ...]
    block_bytes: int
    why_not: str = ""
    notes: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[int, ...]:
        """The devices that the file lies on."""
        found = (device_of(ranges.target_space) for ranges, _ in self.maps)
        return tuple(dict.fromkeys(dev for dev in found if dev is not None))


def map_host_file(fd: int, space: str, sync: bool = False) -> HostFile:
    """Map an open file; `sync` flushes it first, which gives delayed allocations an address.

    Raises:
        MapError: The file system's answer cannot be believed.
    """
    status, name = os.fstat(fd), file_system_of(fd)
    block = os.fstatvfs(fd).f_bsize
    none = RangeMap.of(space, "", [], [], [])
    if name == "btrfs":
        return HostFile(name, *map_btrfs_file(fd, space, sync), block_bytes=block)
    why_not = why_not_mapped(fd)
    if why_not:
        return HostFile(name, none, (), block, why_not)
    extents = map_file(fd, space, device_space(status.st_dev), sync)
    return HostFile(name, extents, ((extents, 0),), block)
