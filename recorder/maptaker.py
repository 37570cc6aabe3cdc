"""Take the maps of the recorded disks at the start and at the stop, by descriptors held in between."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from vio.mappers.chain import survey
from vio.mappers.guestfs.files import GuestFiles, read_guest_files
from vio.mappers.guestfs.store import files_table
from vio.mappers.images import ImageSource, opened_chain
from vio.mappers.space import guest_space
from vio.mappers.timed import MapSet, TimedMap
from vio.recorder.disks import Disk
from vio.recorder.guarded import STUCK_AGAIN_S, STUCK_S, StuckError, guarded
from vio.recorder.heldfiles import HeldImage, held_image
from vio.recorder.procfs import HostRoots

_HOST = HostRoots()

T = TypeVar("T")


@dataclass(slots=True)
class MapTaker:
    """The images, open for reading while the recording lasts: at its end QEMU may be gone.

    `notes` say what is not mapped; `is_stuck` is set once storage did not answer.
    """

    images: list[HeldImage] = field(default_factory=list)
    maps: MapSet = field(default_factory=MapSet)
    notes: list[str] = field(default_factory=list)
    is_stuck: bool = False
    stack: ExitStack = field(default_factory=ExitStack)
    """What is opened later goes when this is left."""

    def take(self, at_ns: int, known_from_ns: int | None = None) -> None:
        """Take all maps as they are now, at `at_ns` of CLOCK_BOOTTIME.

        Of spaces of which there was no map, they are said to hold from `known_from_ns` on, if that is given.
        """
        for image in self.images:
            name = image.disk.name
            try:
                taken = self._guarded(partial(survey, image.source, at_ns, name), image)
                self.maps = self.maps.renew([self._dated(one, known_from_ns) for one in taken.maps])
            except StuckError:
                self._note(f"{name}: not mapped{' again' if self.maps.maps else ''}: its storage does not answer")
                continue
            except Exception as error:  # whatever it is, a map is not worth the recording
                self._note(f"{name}: not mapped: {type(error).__name__}: {error}")
                continue
            for note in taken.notes:
                self._note(f"{name}: {note}")

    def follow(self, disks: Iterable[Disk], process: Path, at_ns: int, began_ns: int) -> None:
        """Map the images' other files that a command has opened since it began, and that only a header named before.

        Nobody else can have moved what lies in them, so these maps hold from the beginning, `began_ns`, on.
        """
        chains = {disk.name: disk.chain for disk in disks}
        found = [image.hold_others(chains.get(image.disk.name, ()), process, self.stack) for image in self.images]
        if any(found):
            self.notes = [f"{image.disk.name}: {note}" for image in self.images for note in image.notes]
            self.take(at_ns, began_ns)

    def exchange(self, disk: Disk, process: Path, at_ns: int) -> None:
        """Hold what is a disk's image now instead of what was: maps until then end, and `take` is of the new one."""
        if disk.name not in {image.disk.name for image in self.images}:
            return
        self.maps = self.maps.ended(guest_space(disk.name), at_ns)
        try:
            new = self.stack.enter_context(held_image(disk, process))
        except OSError as error:
            self._note(f"{disk.name}: its new image is not mapped: {error.strerror}")
            return
        self.images = [new if image.disk.name == disk.name else image for image in self.images]
        for note in new.notes:
            self._note(f"{disk.name}: {note}")

    def _dated(self, taken: TimedMap, known_from_ns: int | None) -> TimedMap:
        spaces = {(one.map.source_space, one.map.target_space) for one in self.maps}
        if known_from_ns is None or (taken.map.source_space, taken.map.target_space) in spaces:
            return taken
        return replace(taken, valid_from_ns=known_from_ns)

    def read_guest_files(self) -> pa.Table:
        """Find the guest's files on the disks, as far as they are there already: see docs/mapping.md."""
        found = []
        for image in self.images:
            name = image.disk.name
            try:
                files = self._guarded(partial(_guest_files, image.source, name), image)
            except StuckError:
                self._note(f"{name}: the guest's files are not known: its storage does not answer")
                continue
            except Exception as error:  # as above
                self._note(f"{name}: the guest's files are not known: {type(error).__name__}: {error}")
                continue
            found.append((name, files.ranges))
            for note in files.notes:
                self._note(f"{name}: guest: {note}")
        return files_table(found)

    def _guarded(self, step: Callable[[], T], image: HeldImage) -> T:
        try:
            return guarded(step, image.descriptors, STUCK_AGAIN_S if self.is_stuck else STUCK_S)
        except StuckError:
            self.is_stuck = True
            raise

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _guest_files(source: ImageSource, name: str) -> GuestFiles:
    with opened_chain(source) as chain:
        return read_guest_files(chain, guest_space(name))


@contextmanager
def held_images(pid: int, disks: Iterable[Disk], roots: HostRoots = _HOST) -> Iterator[MapTaker]:
    """Open the disks' images for as long as a recording lasts."""
    with ExitStack() as stack:
        taker = MapTaker(stack=stack)
        for disk in disks:
            try:
                image = stack.enter_context(held_image(disk, roots.process(pid)))
            except OSError as error:
                taker.notes.append(f"{disk.name}: not mapped: {error.strerror}")
                continue
            taker.images.append(image)
            taker.notes += [f"{disk.name}: {note}" for note in image.notes]
        yield taker
