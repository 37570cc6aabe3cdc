"""Take the maps of the recorded disks at the start and at the stop, by descriptors held in between."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from vio.mappers.chain import take_maps
from vio.mappers.guestfs.files import read_guest_files
from vio.mappers.guestfs.store import files_table
from vio.mappers.images import ImageSource, opened_chain
from vio.mappers.space import guest_space
from vio.mappers.timed import MapSet
from vio.recorder.disks import Disk
from vio.recorder.heldfiles import HeldFiles
from vio.recorder.procfs import HostRoots

_HOST = HostRoots()


@dataclass(slots=True)
class MapTaker:
    """The images, open for reading while the recording lasts: at its end QEMU may be gone.

    `notes` say what is not mapped.
    """

    held: HeldFiles
    images: list[tuple[Disk, int]] = field(default_factory=list)
    maps: MapSet = field(default_factory=MapSet)
    notes: list[str] = field(default_factory=list)

    def take(self, at_ns: int) -> None:
        """Take all maps as they are now, at `at_ns` of CLOCK_BOOTTIME."""
        for disk, fd in self.images:
            try:
                taken = take_maps(fd, disk.format, at_ns, disk=disk.name, opener=self.held)
                self.maps = self.maps.renew(taken.maps)
            except Exception as error:  # whatever it is, a map is not worth the recording
                self._note(f"{disk.name}: not mapped: {type(error).__name__}: {error}")
                continue
            for note in taken.notes:
                self._note(f"{disk.name}: {note}")

    def read_guest_files(self) -> pa.Table:
        """Find the guest's files on the disks, as far as they are there already: see docs/mapping.md."""
        found = []
        for disk, fd in self.images:
            try:
                with opened_chain(ImageSource(fd, disk.format, self.held)) as chain:
                    files = read_guest_files(chain, guest_space(disk.name))
            except Exception as error:  # as above
                self._note(f"{disk.name}: the guest's files are not known: {type(error).__name__}: {error}")
                continue
            found.append((disk.name, files.ranges))
            for note in files.notes:
                self._note(f"{disk.name}: guest: {note}")
        return files_table(found)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@contextmanager
def held_images(pid: int, disks: Iterable[Disk], roots: HostRoots = _HOST) -> Iterator[MapTaker]:
    """Open the disks' images: by the target's own descriptor, or by path for a command that has none yet."""
    taker = MapTaker(HeldFiles(pid, roots))
    try:
        for disk in disks:
            place = str(roots.process(pid) / "fd" / str(disk.fd)) if disk.fd is not None else disk.path
            try:
                fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                taker.notes.append(f"{disk.name}: not mapped: {error.strerror}")
                continue
            taker.images.append((disk, fd))
        yield taker
    finally:
        taker.held.close()
        for _, fd in taker.images:
            os.close(fd)
