"""The whole way down: guest disk, image files, the devices of their file systems, the disks below, and so on."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vio.errors import MapError
from vio.mappers.device.loop import loop_backing, open_backing
from vio.mappers.device.stripes import reached
from vio.mappers.device.tree import Below, Device, DeviceKind, DeviceTree
from vio.mappers.extent import RangeMap
from vio.mappers.hostfs.hostfile import HostFile, map_host_file
from vio.mappers.imagemap import Visible, image_level, map_image
from vio.mappers.images import ImageFormat, ImageSource, OpenImage, opened_chain
from vio.mappers.kind import Ints, Kind
from vio.mappers.level import Level, LevelSort
from vio.mappers.openfile import File, VolumeFile, name_of_file
from vio.mappers.space import device_of, device_space, guest_space, space_of, tables_space
from vio.mappers.timed import MapSet, TimedMap
from vio.mappers.totals import Totals
from vio.printable import printable
from vio.quantity import size_text

SECTOR_UNIT = 512


@dataclass(frozen=True, slots=True)
class TakenMaps:
    """Maps of one disk at one time, top first; its storeys; and for each that has no map a sentence that says why."""

    maps: list[TimedMap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)


def survey(
    source: ImageSource, at_ns: int, disk: str = "disk0", tree: DeviceTree | None = None, is_brief: bool = False
) -> TakenMaps:
    """Take all maps from the guest disk `guest:<disk>` down, valid from boot time `at_ns` on.

    Only the source's image is opened, what its opener allows, and what loop devices lie upon: never a file only because
    an image names it. What cannot be mapped becomes a note. A brief survey walks the images for their totals and keeps
    no map of them.
    """
    walker = _Survey(at_ns, tree or DeviceTree(), is_brief)
    with walker.noting("image"), opened_chain(source) as chain:
        walker.add_images(chain, guest_space(disk))
    return walker.taken


def to_lowest(taken: TakenMaps, disk: str = "disk0") -> list[RangeMap]:
    """Compose the guest disk down to the lowest space that the maps reach: usually one device."""
    if not taken.maps:
        return []
    return MapSet(tuple(taken.maps)).lowest(guest_space(disk), taken.maps[0].valid_from_ns)


@dataclass(frozen=True, slots=True)
class _Survey:
    at_ns: int
    tree: DeviceTree
    is_brief: bool = False
    taken: TakenMaps = field(default_factory=TakenMaps)
    seen: set[str] = field(default_factory=set)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except MapError as error:
            self.taken.notes.append(f"{what}: {error}")
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            self.taken.notes.append(f"{what}: {place}{error.strerror or error}")

    def add(self, ranges: RangeMap, copy: int = 0) -> None:
        self.taken.maps.append(TimedMap(ranges, self.at_ns, copy=copy))

    def add_images(self, chain: list[OpenImage], guest: str) -> None:
        visible = Visible()
        for image in chain:
            what = f"backing file {image.depth}" if image.depth else "image"
            self.taken.notes.extend(f"{what}: {note}" for note in image.notes)
            with self.noting(what):
                if self.is_brief and image.format in (ImageFormat.RAW, ImageFormat.QCOW2):
                    self.taken.levels.append(image_level(image, guest))
                else:
                    ranges = map_image(image, guest)
                    shown = visible.of(ranges)
                    visible = Visible.below(shown)
                    self.add(shown)
                    self._add_level(image_level(image, guest, ranges))
        for image in chain:
            if image.data_fd is not None:
                self.follow_file(image.data_fd)

    def _add_level(self, level: Level) -> None:
        self.taken.levels.append(level)
        if level.areas is not None:
            self.add(level.areas.as_map(tables_space(level.areas.space)))

    def follow_file(self, fd: File) -> None:
        if isinstance(fd, VolumeFile):
            self._follow_volume_file(fd)
            return
        status, space = os.fstat(fd), space_of(fd)
        if stat.S_ISBLK(status.st_mode):
            self.follow_device(status.st_rdev)
            return
        if space in self.seen:
            return
        self.seen.add(space)
        with self.noting(space):
            file = map_host_file(fd, space)
            self._add_file(fd, space, file)
            for device in file.devices:
                self.follow_device(device, reached(list(file.maps), device_space(device)))

    def _add_file(self, fd: int, space: str, file: HostFile) -> None:
        name = printable(name_of_file(fd))
        size = os.fstat(fd).st_size
        if not file.maps:
            self.taken.notes.append(f"{space}: {file.why_not}")
            about = f"{size_text(size)} on {file.file_system}"
            self.taken.levels.append(Level(LevelSort.FILE, space, (), name, about, notes=(file.why_not,)))
            return
        for ranges, copy in file.maps:
            self.add(ranges, copy)
        self.taken.levels.append(
            Level(
                LevelSort.FILE,
                space,
                tuple(dict.fromkeys(ranges.target_space for ranges, _ in file.maps)),
                name,
                f"{size_text(size)} on {file.file_system}",
                file.block_bytes,
                Totals.of([file.extents.rows], max(size, int(file.extents.end[-1]) if len(file.extents) else 0)),
                notes=file.notes,
            )
        )

    def _follow_volume_file(self, file: VolumeFile) -> None:
        if file.space in self.seen:
            return
        self.seen.add(file.space)
        self.add(file.ranges)
        name, about = (
            printable(file.name),
            f"{size_text(file.size)} on {file.file_system}, read without mounting it",
        )
        totals = Totals.of([file.ranges.rows], file.size)
        below = (file.ranges.target_space,)
        self.taken.levels.append(
            Level(LevelSort.FILE, file.space, below, name, about, file.block_bytes, totals, notes=file.notes)
        )
        status = os.fstat(file.volume)
        if stat.S_ISBLK(status.st_mode):
            self.follow_device(status.st_rdev, reached([(file.ranges, 0)], file.ranges.target_space))
        else:
            self.follow_file(file.volume)

    def follow_device(self, dev: int, within: tuple[Ints, Ints] | None = None) -> None:
        """Follow a device down; `within` are the ranges of it that matter, all if it is not given."""
        space = device_space(dev)
        if space in self.seen:
            return
        self.seen.add(space)
        with self.noting(space):
            device = self.tree.find(dev)
            try:
                below = self.tree.maps_down(device, within)
            except MapError as error:
                below = Below(notes=(str(error),))
            self.taken.notes.extend(f"{space}: {note}" for note in below.notes)
            self._add_device(device, space, below)
            for parent in dict.fromkeys(device_of(ranges.target_space) for ranges, _ in below.maps):
                if parent is not None:
                    self.follow_device(parent, reached(below.maps, device_space(parent)))
                elif device.kind is DeviceKind.LOOP:
                    self._follow_loop(device.name)

    def _add_device(self, device: Device, space: str, below: Below) -> None:
        for ranges, copy in below.maps:
            self.add(ranges, copy)
        targets = tuple(dict.fromkeys(ranges.target_space for ranges, _ in below.maps))
        rows = [ranges.rows for ranges, copy in below.maps if not copy]
        totals = Totals.of(rows, device.size, Kind.UNMAPPED) if rows else None
        about = f"{device.about or device.kind} of {size_text(device.size)}"
        notes = tuple(filter(None, (device.note, *below.notes)))
        self.taken.levels.append(
            Level(LevelSort.DEVICE, space, targets, f"/dev/{device.name}", about, SECTOR_UNIT, totals, notes=notes)
        )

    def _follow_loop(self, name: str) -> None:
        fd = open_backing(loop_backing(self.tree.sys / "block" / name, self.tree.dev))
        try:
            self.follow_file(fd)
        finally:
            os.close(fd)
