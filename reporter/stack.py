"""Bios on their way through mapped devices (device mapper, md, partitions): which was made from which, and their ends.

A device of the mapper or of md hands a bio on as one or more others, at once or later and on another thread. The event
of the remap has both addresses: from the place on the mapped device, where a bio was queued or the rest of one that
was cut, to the place on the device below, where the next bio is queued. A bio that moves itself (through md of older
kernels) is not queued once more: there the remap stands for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.manifest import StretchInfo
from vio.reporter.compiled import number_keys
from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, latest_before, pair, picked
from vio.reporter.remaps import CUT, QUEUED, REMAPPED, follow
from vio.reporter.sectors import OP_FLUSH, place_key

_MOST_STEPS = 16  # mapped devices upon each other that are followed
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Below:
    """What is known of the devices: the disk of each partition, and what lies directly below each mapped device.

    `stretches` are (mapped device, the rest of it as the manifest has it).
    """

    disk_of: Mapping[int, int] = field(default_factory=dict)
    parents: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    stretches: tuple[tuple[int, StretchInfo], ...] = ()


@dataclass(frozen=True, slots=True)
class Bios:
    """Bios as event indices, in order: queued, cut off another, or moved by a remap.

    `size` is in bytes, 0 where it is not known. `upper` is the position of the bio that it was made from, or -1.
    `done` is the event of its own completion, which only devices that hand bios on have, or -1. `remap` are the events
    of all remaps, `remapped` the bio (position) that came of each, -1 while there is none.
    """

    event: Ints
    device: Ints
    offset: Ints
    size: Ints
    upper: Ints
    done: Ints
    remap: Ints
    remapped: Ints

    @property
    def is_lowest(self) -> Bools:
        """Tell which were not handed on: those go into requests of their device."""
        is_lowest = np.ones(self.event.size, dtype=np.bool_)
        is_lowest[self.upper[self.upper >= 0]] = False
        return is_lowest

    def inherited(self, values: Ints) -> Ints:
        """Give each bio that was made from another that one's value."""
        found = values
        for _ in range(_MOST_STEPS):
            above = np.where(self.upper >= 0, picked(found, self.upper), found)
            if np.array_equal(above, found):
                break
            found = above
        return found

    def ends(self, own: Ints) -> tuple[Ints, Ints]:
        """Return for each bio its end and the latest end below it (events, -1: not seen, or nothing below).

        `own` is where the requests of the lowest ended. What was handed on ends with its own completion, or else with
        the last below it.
        """
        made = np.flatnonzero(self.upper >= 0)
        end = np.where(self.done >= 0, self.done, own)
        below = np.full(self.event.size, NONE)
        for _ in range(_MOST_STEPS if made.size else 0):
            latest = np.full(self.event.size, NONE)
            np.maximum.at(latest, self.upper[made], np.where(end[made] < 0, _FAR, end[made]))
            latest[latest == _FAR] = NONE
            if np.array_equal(latest, below):
                break
            below = latest
            end = np.where(self.done >= 0, self.done, np.where(self.is_lowest, own, below))
        return end, below

    def first_below(self, values: Ints) -> Ints:
        """Give each bio that was handed on the value of the first that came of it, through all steps."""
        found = values.copy()
        made = np.flatnonzero(self.upper >= 0)[::-1]
        for _ in range(_MOST_STEPS if made.size else 0):
            before = found.copy()
            found[self.upper[made]] = found[made]
            if np.array_equal(before, found):
                break
        return found


def read_bios(window: Window, below: Below) -> Bios:
    """Find the bios of a window, and which were made from which."""
    ev = window.events
    queued, remap = window.at("bio_queue", "bio_split"), window.at("bio_remap")
    device, offset = _places(window, queued)
    none = np.full(queued.size, NONE)
    if not remap.size and not below.parents:
        return Bios(queued, _disks(device, below), offset, _sizes(window, queued), none, none, remap, remap)
    every, upper, child, is_passed = _followed(window, queued, remap, below)
    is_remap = window.is_at(every, "bio_remap")
    is_open = is_remap & ~is_passed & (child < 0) & (upper >= 0)
    moves = _moved(ev.tid, every, is_remap, is_open, upper)
    is_bio = ~is_remap | (is_open & (moves < 0))
    position = np.cumsum(is_bio) - 1  # of each that is a bio
    event = every[is_bio]
    device, offset = _places(window, event)
    moved = np.flatnonzero(moves >= 0)
    device[position[moves[moved]]] = ev.space[every[moved]]
    offset[position[moves[moved]]] = ev.offset[every[moved]]
    became = np.where(child >= 0, child, np.where(moves >= 0, moves, np.where(is_bio, np.arange(every.size), NONE)))
    above = upper[is_bio]
    size = _sizes(window, event)
    found = Bios(
        event,
        _disks(device, below),
        offset,
        size,
        np.where(above >= 0, picked(position, above), NONE),
        _completions(window, event, size),
        every[is_remap],
        np.where(became[is_remap] >= 0, picked(position, became[is_remap]), NONE),
    )
    # what begins when a bio is complete is not of it: the one that it is of was lost
    late = np.flatnonzero((found.upper >= 0) & (found.done[found.upper] >= 0))
    late = late[found.done[found.upper[late]] < found.event[late]]
    found.upper[late] = NONE
    _add_flushes(window, found, below)
    return found


def _sizes(window: Window, event: Ints) -> Ints:
    size = window.events.bytes[event]
    has_others = window.at("bio_split").size or window.at("bio_remap").size
    return np.where(window.is_at(event, "bio_queue"), size, 0) if has_others else size


def _places(window: Window, event: Ints) -> tuple[Ints, Ints]:
    """Return device and offset of bios: of the rest of one that was cut, its own begin."""
    ev = window.events
    device, offset = ev.space[event].astype(np.int64), ev.offset[event]
    if window.at("bio_split").size:
        is_split = window.is_at(event, "bio_split")
        offset = np.where(is_split, ev.key[event].astype(np.int64) * 512, offset)
    return device, offset


def _disks(device: Ints, below: Below) -> Ints:
    """Give the disk instead of a partition.

    Since Linux commit 309dca309fc3 ("block: store a block_device pointer in struct bio") (in v5.12) a bio keeps the
    partition's number, and has the disk's sector.
    """
    found = device.copy()
    for partition, disk in below.disk_of.items():
        found[device == partition] = disk
    return found


def _followed(window: Window, queued: Ints, remap: Ints, below: Below) -> tuple[Ints, Ints, Ints, Bools]:
    """Return the events of bios and remaps in order, and by their positions what remaps.follow says."""
    ev = window.events
    every = np.sort(np.concatenate([queued, remap]))
    is_remap, is_split = window.is_at(every, "bio_remap"), window.is_at(every, "bio_split")
    kind = np.where(is_split, CUT, np.where(is_remap, REMAPPED, QUEUED))
    device, offset = _places(window, every)
    # where each comes from: a remap's other address
    old_device = np.where(is_remap, ev.bytes[every], device)
    old_offset = np.where(is_remap, ev.key[every].astype(np.int64) * 512, offset)
    origin = _upper_places(old_device, old_offset, below)
    has_origin = np.flatnonzero((origin[0] >= 0) & ~is_split)
    places = [place_key(device, offset), place_key(old_device, old_offset), place_key(*origin)[has_origin]]
    codes, _ = number_keys(np.concatenate(places))
    origins = np.full(every.size, NONE)
    origins[has_origin] = codes[2 * every.size :]
    tid = ev.tid[every].astype(np.uint32).astype(np.uint64)
    found = follow(
        kind,
        number_keys(tid)[0],
        codes[: every.size],
        codes[every.size : 2 * every.size],
        origins,
        number_keys(old_device.astype(np.uint64) << np.uint64(32) | tid)[0],
        old_offset // 512,
        _sizes(window, every) // 512,
        ev.space[every] == ev.bytes[every],
    )
    return every, *found


def _upper_places(device: Ints, offset: Ints, below: Below) -> tuple[Ints, Ints]:
    """Return the place on the mapped device above, by its table; -1 where there is none."""
    upper, at = np.full(device.size, NONE), np.zeros(device.size, dtype=np.int64)
    for mapped, one in below.stretches:
        into = offset - one.parent_start_bytes
        is_in = (device == one.parent) & (into >= 0) & (into < one.length_bytes)
        upper[is_in], at[is_in] = mapped, into[is_in] + one.start_bytes
    return upper, at


def _moved(tid: npt.NDArray[np.int32], every: Ints, is_remap: Bools, is_open: Bools, upper: Ints) -> Ints:
    """Return for each remap that nothing was queued for the bio that it moved: on that one's thread, its only remap."""
    moves = np.full(every.size, NONE)
    times = np.bincount(upper[is_remap & (upper >= 0)], minlength=every.size)
    alone = np.flatnonzero(is_open)
    alone = alone[(times[upper[alone]] == 1) & (tid[every[alone]] == tid[every[upper[alone]]])]
    moves[alone] = upper[alone]
    return moves


def _completions(window: Window, event: Ints, size: Ints) -> Ints:
    """Return the completion of each bio that has one of its own, by the place where it ends.

    The end stays where it is when parts are cut off the front of a bio. What is cut off completes with the rest.
    """
    ev = window.events
    complete, bio = window.at("bio_complete"), np.flatnonzero(window.is_at(event, "bio_queue"))
    done = np.full(event.size, NONE)
    if not complete.size:
        return done
    at = event[bio]
    ends = place_key(ev.space[at].astype(np.int64), ev.offset[at] + size[bio])
    completed = place_key(ev.space[complete].astype(np.int64), ev.offset[complete] + ev.bytes[complete])
    done[bio] = picked(complete, pair(at, ends, complete, completed).end)
    split = np.flatnonzero(window.is_at(event, "bio_split"))
    on_thread = ev.space[event].astype(np.uint64) << np.uint64(32) | ev.tid[event].astype(np.uint32).astype(np.uint64)
    whole = latest_before(event[split], on_thread[split], at, on_thread[bio])
    done[split] = picked(done[bio], whole)
    return done


def _add_flushes(window: Window, bios: Bios, below: Below) -> None:
    """Give the flushes that md sends to its disks, which no remap tells of, to the latest flush that it has itself."""
    ev = window.events
    is_flush = (ev.flags[bios.event] == OP_FLUSH) & window.is_at(bios.event, "bio_queue")
    for device, parents in below.parents.items():
        mine = np.flatnonzero(is_flush & (ev.space[bios.event] == device))
        sent = np.flatnonzero(is_flush & (bios.size == 0) & (bios.upper < 0) & np.isin(bios.device, np.array(parents)))
        if not mine.size or not sent.size:
            continue
        one = np.zeros(mine.size, dtype=np.uint64)
        found = latest_before(bios.event[sent], np.zeros(sent.size, dtype=np.uint64), bios.event[mine], one)
        upper = picked(mine, found)
        is_it = (upper >= 0) & ((bios.done[upper] < 0) | (bios.done[upper] > bios.event[sent]))
        bios.upper[sent[is_it]] = upper[is_it]
