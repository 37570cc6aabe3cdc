"""Take the maps of the recorded disks at the start and at the stop, by descriptors held in between."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from vio.mappers.chain import TakenMaps, take_file_maps, take_maps
from vio.mappers.timed import MapSet
from vio.recorder.disks import Disk
from vio.recorder.imagechain import ChainFile, Role
from vio.recorder.procfs import HostRoots

_HOST = HostRoots()


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image, open for reading, with its other files that are."""

    disk: Disk
    fd: int
    others: tuple[tuple[ChainFile, int], ...] = ()

    @property
    def data_fd(self) -> int | None:
        """The external data file."""
        return next((fd for file, fd in self.others if file.role is Role.DATA), None)


@dataclass(slots=True)
class MapTaker:
    """The images, open for reading while the recording lasts: at its end QEMU may be gone.

    `notes` say what is not mapped.
    """

    images: list[HeldImage] = field(default_factory=list)
    maps: MapSet = field(default_factory=MapSet)
    notes: list[str] = field(default_factory=list)

    def take(self, at_ns: int) -> None:
        """Take all maps as they are now, at `at_ns` of CLOCK_BOOTTIME."""
        for image in self.images:
            disk = image.disk
            self._take(disk, partial(take_maps, image.fd, disk.format, at_ns, disk.name, image.data_fd))
            for file, fd in image.others:
                if file.role is Role.BACKING:
                    self._take(disk, partial(take_file_maps, fd, at_ns, image_format=file.format))

    def _take(self, disk: Disk, taking: Callable[[], TakenMaps]) -> None:
        try:
            taken = taking()
            self.maps = self.maps.renew(taken.maps)
        except Exception as error:  # whatever it is, a map is not worth the recording
            self._note(f"{disk.name}: not mapped: {type(error).__name__}: {error}")
            return
        for note in taken.notes:
            self._note(f"{disk.name}: {note}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@contextmanager
def held_images(pid: int, disks: Iterable[Disk], roots: HostRoots = _HOST) -> Iterator[MapTaker]:
    """Open the disks' images: by the target's own descriptor, or by path for a command that has none yet."""
    taker = MapTaker()
    with ExitStack() as stack:

        def opened(name: str, fds: tuple[int, ...], path: str) -> int | None:
            place = str(roots.process(pid) / "fd" / str(fds[0])) if fds else path
            try:
                fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                taker.notes.append(f"{name}: not mapped: {error.strerror}")
                return None
            stack.callback(os.close, fd)
            return fd

        for disk in disks:
            fd = opened(disk.name, () if disk.fd is None else (disk.fd,), disk.path)
            others = [(file, opened(f"{disk.name}: {file.path}", file.fds, file.path)) for file in disk.chain]
            if fd is not None:
                held = tuple((file, other) for file, other in others if other is not None)
                taker.images.append(HeldImage(disk, fd, held))
        yield taker
