"""Writeback: link the bios that write the page cache back to the IOs whose writes they carry.

The evidence is the address: device range -> image file range, by the recording's maps -> the IO that wrote each byte
last before the bio was queued. Linked, not charged: an IO's spans and times stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vio.mappers.timed import MapSet
from vio.reporter.cached import CacheWrites, WriteBios, cache_writes, divided, write_bios
from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.dirty import DROP, WRITE, WRITEBACK, DirtyRanges, Outcome, Steps
from vio.reporter.join import Joined
from vio.reporter.laterbios import LaterBios, is_found
from vio.reporter.match import NONE, Ints
from vio.reporter.places import DISAGREE, NO_IMAGE, Found, Places

_UNNUMBERED = -2  # and below: names of IOs that have not ended yet, and so have no number


@dataclass(frozen=True, slots=True)
class CachedDisks:
    """Disks whose IO goes through the page cache: `spaces` of their images ("" for the others), by number.

    `descriptors` are those of all disks; a disk that has none may have any.
    """

    spaces: tuple[str, ...]
    descriptors: Mapping[int, int]

    @property
    def numbers(self) -> list[int]:
        """The disks that have a space."""
        return [number for number, space in enumerate(self.spaces) if space]

    def of(self, descriptor: Ints, disk: Ints) -> Ints:
        """Return the disk of each write: by its descriptor, else `disk`, that of its IO; -1 for another file's."""
        if not descriptor.size:
            return disk
        values, which = np.unique(descriptor, return_inverse=True)
        known = np.array([self.descriptors.get(one, NONE) for one in values.tolist()], dtype=np.int64)[which]
        named = np.array(sorted(set(self.descriptors.values())), dtype=np.int64)
        disk = np.zeros_like(disk) if len(self.spaces) == 1 else disk
        return np.where(known >= 0, known, np.where(np.isin(disk, named), NONE, disk))


class Writeback:
    """Follows the page cache through the windows of a join, in order; memory goes with what is dirty or in flight."""

    def __init__(self, maps: MapSet, disks: CachedDisks) -> None:
        """Read from the maps where the images lie."""
        self.figures = WritebackFigures()
        self._disks = disks
        self._places = Places.of(maps, disks.spaces)
        self._dirty = {image: DirtyRanges() for image in self._places.images}
        self._waiting = LaterBios.empty()
        self._unnumbered: dict[tuple[int, int], int] = {}
        self._next_name = _UNNUMBERED
        self._since_ns = NONE
        self._ready: list[LaterBios] = []

    def add(self, joined: Joined, number: Ints, disk: Ints, *, is_last: bool) -> None:
        """Take the next window; `number` and `disk` are of its IOs, the number -1 where one is not done."""
        writes = divided(joined, cache_writes(joined, self._since_ns))
        bios = write_bios(joined, self._places.devices, self._since_ns)
        if self._unnumbered:
            self._name_ended(joined, number)
        name = self._named(joined, number, np.concatenate([writes.io, bios.cause]))
        found = self._find(bios)
        fresh = [self._waiting.seen_again(joined)]
        for image, steps in self._steps(joined, writes, name, disk, bios, found):
            fresh.append(self._linked(image, self._dirty[image].apply(steps), joined, name, bios, found))
        if len(joined.window.events):
            self._since_ns = int(joined.window.events.ts_ns[-1])
        self._give_out(LaterBios.joined(fresh), is_last=is_last)
        if is_last:
            self._count_left()

    def take(self) -> pa.Table:
        """Return the rows of schema.WRITEBACKS that became whole since the last call."""
        ready, self._ready = self._ready, []
        return LaterBios.joined([LaterBios.empty(), *ready]).table()

    def is_settled(self, io: int) -> bool:
        """Tell whether no more rows can come for an IO that has ended."""
        return not (self._waiting.io == io).any() and not any(
            (dirty.ranges.who == io).any() for dirty in self._dirty.values()
        )

    def _name_ended(self, joined: Joined, number: Ints) -> None:
        """Give IOs of earlier windows that are done in this one their numbers."""
        ev, ios = joined.window.events, joined.ios
        old, new, ended = [], [], []
        for io in np.flatnonzero((number >= 0) & (ev.ts_ns[ios.begin] <= self._since_ns)).tolist():
            name = self._unnumbered.pop(_identity(joined, io), None)
            if name is not None:
                old.append(name)
                new.append(int(number[io]))
                ended.append(int(ev.ts_ns[ios.end[io]]) if ios.end[io] >= 0 else 0)
        order = np.argsort(np.array(old, dtype=np.int64))
        names, numbers, ended_ns = (np.array(one, dtype=np.int64)[order] for one in (old, new, ended))
        for dirty in self._dirty.values():
            dirty.rename(names, numbers, ended_ns)
        self._waiting.rename(names, numbers, ended_ns)

    def _named(self, joined: Joined, number: Ints, wanted: Ints) -> Ints:
        """Return the IOs' numbers, with a name of our own for those wanted that are not done yet; the last is -1."""
        name = np.append(number, NONE)
        for io in np.unique(wanted[(wanted >= 0) & (name[wanted] < 0)]).tolist():
            identity = _identity(joined, io)
            if identity not in self._unnumbered:
                self._unnumbered[identity] = self._next_name
                self._next_name -= 1
            name[io] = self._unnumbered[identity]
        return name

    def _find(self, bios: WriteBios) -> Found:
        """Look up where the bios' ranges lie in the images; count the bytes of which no map or no single one tells."""
        parts = []
        for device in self._places.devices:
            mine = np.flatnonzero(bios.device == device)
            parts.append(self._places.find(device, bios.start[mine], bios.end[mine]).of_requests(mine))
        found = Found.joined(parts)
        size = found.end - found.start
        self.figures.bios += int(bios.bio.size)
        self.figures.device_bytes += int(size.sum())
        self.figures.unmapped_bytes += int(size[found.image == NO_IMAGE].sum())
        self.figures.disagreeing_bytes += int(size[found.image == DISAGREE].sum())
        return found

    def _steps(
        self, joined: Joined, writes: CacheWrites, name: Ints, disk: Ints, bios: WriteBios, found: Found
    ) -> list[tuple[int, Steps]]:
        """Put what each image's file meets in order of time; count the bytes written to the cache."""
        ev, ios = joined.window.events, joined.ios
        ended = np.append(np.where((name[:-1] >= 0) & (ios.end >= 0), ev.ts_ns[ios.end], 0), 0)
        descriptor, own_disk = ev.space[joined.frames.submit[writes.submit]], np.append(disk, NONE)[writes.io]
        image = self._disks.of(descriptor.astype(np.int64), own_disk)
        # A descriptor that the recording does not know may be another file's: its bytes are counted, not followed.
        of_io = (writes.io >= 0) & ~writes.is_drop
        of_io &= np.isin(np.where(image == NONE, own_disk, image), self._disks.numbers)
        size = writes.end - writes.start
        self.figures.cached_bytes += int(size[of_io].sum())
        self.figures.lost_bytes += int(size[of_io & ~np.isin(image, list(self._dirty))].sum())
        steps = []
        for number in self._dirty:
            mine, its = np.flatnonzero(image == number), np.flatnonzero(found.image == number)
            io, kind = writes.io[mine], np.where(writes.is_drop[mine], DROP, WRITE)
            at = np.concatenate([writes.at[mine], joined.blocks.bio[bios.bio[found.request[its]]]])
            every = Steps(
                np.concatenate([kind, np.full(its.size, WRITEBACK)]),
                np.concatenate([writes.start[mine], found.offset[its]]),
                np.concatenate([writes.end[mine], found.offset[its] + found.end[its] - found.start[its]]),
                np.concatenate([name[io], its]),
                np.concatenate([ended[io], np.zeros(its.size, dtype=np.int64)]),
            )
            if at.size:
                steps.append((number, every.take(np.argsort(at, kind="stable"))))
        return steps

    def _linked(
        self, image: int, outcome: Outcome, joined: Joined, name: Ints, bios: WriteBios, found: Found
    ) -> LaterBios:
        """Count what came of an image's bytes; return the links to IOs."""
        figures, shared = self.figures, outcome.shared
        size, bio = shared.end - shared.start, found.request[shared.bio]
        caused_by = name[bios.cause[bio]]
        is_own, is_qemu = (shared.io == caused_by) & (shared.io != NONE), shared.io == NONE
        is_link = ~is_own & ~is_qemu
        figures.own_bytes += int(size[is_own].sum())
        figures.qemu_bytes += int(size[is_qemu].sum())
        figures.linked_bytes += int(size[is_link].sum())
        figures.caused_bytes += int(size[is_link & (caused_by != NONE)].sum())
        figures.linked_bios += int(np.unique(bio[~is_qemu]).size)
        figures.unwritten_bytes += int(outcome.unwritten[1].sum())
        figures.overwritten_bytes += _of_ios(outcome.overwritten)
        figures.dropped_bytes += _of_ios(outcome.dropped)
        offset = found.start[shared.bio] + shared.start - found.offset[shared.bio]
        return LaterBios.of(joined, bios.bio[bio], image, shared, offset, caused_by).take(is_link)

    def _give_out(self, links: LaterBios, *, is_last: bool) -> None:
        """Make rows of the links that are whole; keep the others for the next window."""
        is_whole = is_found(links, self._since_ns) & (links.io >= 0) & (links.caused_by >= NONE)
        if is_last:
            is_whole = links.io >= 0
            nameless = int(links.bytes[~is_whole].sum())
            self.figures.linked_bytes -= nameless
            self.figures.qemu_bytes += nameless
        ready = links.take(is_whole)
        self._waiting = links.take(~is_whole)
        timed = (ready.completed_ns > 0) & (ready.ended_ns > 0)
        self.figures.after_end.add(np.maximum(ready.completed_ns - ready.ended_ns, 0)[timed])
        if ready.io.size:
            self._ready.append(ready)

    def _count_left(self) -> None:
        for dirty in self._dirty.values():
            left = dirty.ranges.take(dirty.ranges.who != NONE)
            self.figures.left_bytes += int((left.end - left.start).sum())
            self.figures.left_ios += int(np.unique(left.who).size)
            self.figures.lost_bytes += dirty.forgotten_bytes


def _identity(joined: Joined, io: int) -> tuple[int, int]:
    """Name an IO alike in all windows in which its begin is seen."""
    ev, begin = joined.window.events, int(joined.ios.begin[io])
    return int(ev.ts_ns[begin]), int(ev.tid[begin])


def _of_ios(pair: tuple[Ints, Ints]) -> int:
    who, size = pair
    return int(size[who != NONE].sum())
