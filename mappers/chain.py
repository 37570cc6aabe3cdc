"""The whole way down: guest disk, image file, the device of its file system, the disk, and so on."""

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vio.errors import MapError
from vio.mappers.device.loop import loop_backing, open_backing
from vio.mappers.device.tree import DeviceKind, DeviceTree
from vio.mappers.extent import RangeMap
from vio.mappers.hostfs.fiemap import map_file
from vio.mappers.hostfs.filesystem import why_not_mapped
from vio.mappers.qcow2.header import Qcow2Header, read_header
from vio.mappers.qcow2.walk import map_qcow2
from vio.mappers.raw import map_raw
from vio.mappers.space import device_of, device_space, file_space, guest_space
from vio.mappers.timed import MapSet, TimedMap

BLKGETSIZE64 = 0x80081272


class ImageFormat(StrEnum):
    """Formats of a guest disk that are mapped."""

    RAW = "raw"
    QCOW2 = "qcow2"


@dataclass(frozen=True, slots=True)
class TakenMaps:
    """Maps of one disk at one time, top first, and for each level that has none a sentence that says why."""

    maps: list[TimedMap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def take_maps(
    image: Path | int,
    image_format: str,
    at_ns: int,
    disk: str = "disk0",
    data_file: Path | int | None = None,
    tree: DeviceTree | None = None,
) -> TakenMaps:
    """Take all maps from the guest disk `guest:<disk>` down, valid from boot time `at_ns` on.

    Only what the caller gives is opened, and what loop devices lie upon: never a file that an image names.
    So the external data file of a qcow2 image is followed only if it is given. What cannot be mapped
    becomes a note.
    """
    survey = _Survey(at_ns, tree or DeviceTree())
    with survey.noting("image"), _opened(image) as fd:
        survey.add_image(fd, image_format, guest_space(disk), data_file)
    return survey.taken


def take_file_maps(fd: int, at_ns: int, tree: DeviceTree | None = None) -> TakenMaps:
    """Take the maps from an open host file (or block device) down."""
    survey = _Survey(at_ns, tree or DeviceTree())
    with survey.noting("file"):
        survey.follow_file(fd)
    return survey.taken


def to_lowest(taken: TakenMaps, disk: str = "disk0") -> list[RangeMap]:
    """Compose the guest disk down to the lowest space that the maps reach: usually one device."""
    if not taken.maps:
        return []
    return MapSet(tuple(taken.maps)).lowest(guest_space(disk), taken.maps[0].valid_from_ns)


def space_of(fd: int) -> str:
    """Name the address space of an open host file or block device."""
    status = os.fstat(fd)
    if stat.S_ISBLK(status.st_mode):
        return device_space(status.st_rdev)
    return file_space(status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True)
class _Survey:
    at_ns: int
    tree: DeviceTree
    taken: TakenMaps = field(default_factory=TakenMaps)
    seen: set[str] = field(default_factory=set)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except (MapError, OSError) as error:
            self.taken.notes.append(f"{what}: {error}")

    def add(self, ranges: RangeMap) -> None:
        self.taken.maps.append(TimedMap(ranges, self.at_ns))

    def add_image(self, fd: int, image_format: str, guest: str, data_file: Path | int | None) -> None:
        if image_format == ImageFormat.RAW:
            self.add(map_raw(_size_of(fd), guest, space_of(fd)))
            self.follow_file(fd)
        elif image_format == ImageFormat.QCOW2:
            self._add_qcow2(fd, guest, data_file)
        else:
            self.taken.notes.append(f"image: the format {image_format} is not mapped yet")

    def _add_qcow2(self, fd: int, guest: str, data_file: Path | int | None) -> None:
        header = read_header(fd)
        if header.backing_file is not None:
            self.taken.notes.append(f"image: its backing file {header.backing_file!r} is not followed yet")
        if not header.has_data_file:
            self.add(map_qcow2(fd, guest, space_of(fd), header))
            self.follow_file(fd)
        elif data_file is None:
            self._note_data_file(header)
        else:
            with _opened(data_file) as data_fd:
                self.add(map_qcow2(fd, guest, space_of(data_fd), header))
                self.follow_file(data_fd)

    def _note_data_file(self, header: Qcow2Header) -> None:
        name = header.data_file or "a file that it does not name"
        self.taken.notes.append(f"image: its data is in {name!r}, which was not given to be followed")

    def follow_file(self, fd: int) -> None:
        status, space = os.fstat(fd), space_of(fd)
        if stat.S_ISBLK(status.st_mode):
            self.follow_device(status.st_rdev)
            return
        if space in self.seen:
            return
        self.seen.add(space)
        why_not = why_not_mapped(fd)
        if why_not:
            self.taken.notes.append(f"{space}: {why_not}")
            return
        with self.noting(space):
            self.add(map_file(fd, space, device_space(status.st_dev)))
            self.follow_device(status.st_dev)

    def follow_device(self, dev: int) -> None:
        space = device_space(dev)
        if space in self.seen:
            return
        self.seen.add(space)
        with self.noting(space):
            device = self.tree.find(dev)
            below = self.tree.map_down(device)
            if below is None:
                return
            self.add(below)
            parent = device_of(below.target_space)
            if parent is not None:
                self.follow_device(parent)
            elif device.kind is DeviceKind.LOOP:
                self._follow_loop(device.name)

    def _follow_loop(self, name: str) -> None:
        fd = open_backing(loop_backing(self.tree.sys / "block" / name, self.tree.dev))
        try:
            self.follow_file(fd)
        finally:
            os.close(fd)


@contextmanager
def _opened(file: Path | int) -> Iterator[int]:
    """Open a path that the caller chose (a link is followed: maps go by what was opened); keep an fd open."""
    if isinstance(file, int):
        yield file
        return
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def _size_of(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return status.st_size
    answer = bytearray(8)
    fcntl.ioctl(fd, BLKGETSIZE64, answer)
    return int.from_bytes(answer, sys.byteorder)
