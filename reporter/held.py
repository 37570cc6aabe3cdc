"""Bios that the block layer holds back before it says that it has them, and direct IO of which no bio was seen.

Newer kernels pass block_bio_queue when a bio leaves the IO controller's throttle, on a kernel worker: it is not nested
in its file system's work any more. The address tells: device range -> file range, by the recording's maps -> the direct
IO on that range that is under way and still wants a bio there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vio.mappers.extent import RangeMap
from vio.mappers.kind import Kind, base_of
from vio.mappers.timed import MapSet
from vio.reporter.block import Blocks
from vio.reporter.carriers import Carriers, FileId, SystemCalls
from vio.reporter.compiled import total_of
from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.match import NONE, Bools, Ints, latest_before, pair, picked
from vio.reporter.places import Places

_DATA_OPS = (1, 2)  # flags of a bio: read, write
_TYPE_WRITE = 2  # QEMU_AIO_WRITE, in flags of a hand-over
_FAILED = 1  # flags of dio_end
_MOST_BIOS = 1024  # of one direct IO, one after the other
_FILE_BITS = np.uint64(44)  # of an address in units of 512 bytes, before the file's number


class ImagePlaces:
    """Where the files of images, and those below loop devices, lie; worked out when it is first asked for."""

    def __init__(self, maps: MapSet, files: Mapping[str, FileId]) -> None:
        """Take the files by the spaces that the maps call them by."""
        self._maps = maps
        self._files = dict(files)
        self._places: Places | None = None
        self._first: dict[int, list[RangeMap]] = {}

    @property
    def places(self) -> Places:
        """From devices to files; their numbers are those of `number_of`."""
        if self._places is None:
            self._places = Places.of(self._maps, list(self._files))
        return self._places

    def number_of(self, window: Window, work: Ints) -> Ints:
        """Return for each piece of file-system work (events) the number of its file, or -1."""
        ev = window.events
        number = np.full(work.size, NONE, dtype=np.int64)
        for one, (device, inode) in enumerate(self._files.values()):
            number[(ev.space[work] == device) & (ev.key[work] == inode)] = one
        return number

    def has_blocks(self, number: int, offset: Ints) -> tuple[Bools, bool]:
        """Tell of places in a file which had blocks at the recording's start, and whether anything is known of it."""
        if number not in self._first:
            space = list(self._files)[number]
            maps = [timed for timed in self._maps if timed.map.source_space == space]
            start_ns = min((timed.valid_from_ns for timed in maps), default=0)
            first = (timed.map for timed in maps if timed.valid_from_ns == start_ns)
            self._first[number] = [one for one in first if len(one)]
        has_blocks = np.zeros(offset.size, dtype=np.bool_)
        for one in self._first[number]:  # of a file on several devices, one for each
            at = np.maximum(np.searchsorted(one.start, offset, side="right") - 1, 0)
            inside = (offset >= one.start[at]) & (offset < one.end[at])
            has_blocks |= inside & (base_of(one.kind[at]) == Kind.MAPPED)
        return has_blocks, bool(self._first[number])


@dataclass(frozen=True, slots=True)
class Held:
    """The file-system work (position) of each bio, and the event at which the block layer had it.

    `lacks_bio` are pieces of work on images that must have had a bio of which none was seen.
    """

    bio_work: Ints
    bio_begin: Ints
    lacks_bio: Bools


def find_held(
    window: Window,
    frames: Frames,
    carriers: Carriers,
    calls: SystemCalls,
    blocks: Blocks,
    nested: Ints,
    below: Ints,
    places: ImagePlaces | None,
) -> Held:
    """Give bios to the work that waits for them; `nested` is the work that each bio lies in, or -1.

    `below` is the loop device's request of each piece of work, or -1.
    """
    nothing = Held(nested, blocks.bio, np.zeros(carriers.work.size, dtype=np.bool_))
    if places is None or not window.observes("bio_queue"):
        return nothing
    ev, work = window.events, carriers.work
    served = total_of(np.where(blocks.bios.upper < 0, nested, NONE), blocks.bios.size, work.size)
    short = np.flatnonzero(carriers.works.is_direct & (served < ev.bytes[work]))
    end = carriers.work_end[short]
    is_wanted = ~carriers.works.is_given_up[short] & ((end < 0) | (ev.flags[end] != _FAILED))
    is_wanted &= (ev.bytes[work[short]] > 0) & ((carriers.work_submit[short] >= 0) | (below[short] >= 0))
    short = short[is_wanted]
    if not short.size:
        return nothing
    number = places.number_of(window, work[short])
    bio_work = _by_address(window, carriers, blocks, nested, short[number >= 0], number[number >= 0], served, places)
    held = np.flatnonzero(bio_work != nested)
    begin = blocks.bio.copy()
    begin[held] = _submitted(window, carriers, calls, bio_work[held], blocks.bio[held])
    is_served = np.zeros(work.size, dtype=np.bool_)
    is_served[bio_work[bio_work >= 0]] = True
    bare = ~is_served[short] & (number >= 0) & (carriers.work_submit[short] >= 0) & (carriers.work_end[short] >= 0)
    lacks = np.zeros(work.size, dtype=np.bool_)
    lacks[short[bare]] = _must_have(window, frames, carriers, calls, short[bare], number[bare], places)
    return Held(bio_work, begin, lacks)


def _by_address(
    window: Window,
    carriers: Carriers,
    blocks: Blocks,
    nested: Ints,
    short: Ints,
    number: Ints,
    served: Ints,
    places: ImagePlaces,
) -> Ints:
    """Give each bio, in order, to the work of which it carries the next bytes."""
    ev, work = window.events, carriers.work
    bio, file, offset = _in_files(window, blocks, _while_open(carriers, short, blocks.bio), number, places)
    # on a kernel worker it may seem to lie in what that thread did before, on another file
    is_elsewhere = (nested[bio] < 0) | (places.number_of(window, work[nested[bio]]) != file)
    bio, file, offset = bio[is_elsewhere], file[is_elsewhere], offset[is_elsewhere]
    bio_work, served = nested.copy(), served.copy()
    for _ in range(_MOST_BIOS):
        wants = np.flatnonzero(served[short] < ev.bytes[work[short]])
        if not bio.size or not wants.size:
            break
        mine = short[wants]
        pairs = pair(
            work[mine], _key(number[wants], ev.offset[work[mine]] + served[mine]), blocks.bio[bio], _key(file, offset)
        )
        found = np.flatnonzero(pairs.end >= 0)
        which, owner = pairs.end[found], mine[found]
        is_open = (carriers.work_end[owner] < 0) | (carriers.work_end[owner] > blocks.bio[bio[which]])
        which, owner = which[is_open], owner[is_open]
        if not which.size:
            break
        bio_work[bio[which]] = owner
        served[owner] += blocks.bios.size[bio[which]]
        bio, file, offset = np.delete(bio, which), np.delete(file, which), np.delete(offset, which)
    return bio_work


def _while_open(carriers: Carriers, short: Ints, bio: Ints) -> Bools:
    """Tell which bios were queued while any of that work was under way: few, where few bios are missing."""
    end = carriers.work_end[short]
    begun = np.searchsorted(carriers.work[short], bio)
    return np.asarray(begun > np.searchsorted(np.sort(end[end >= 0]), bio))


def _in_files(
    window: Window, blocks: Blocks, is_candidate: Bools, number: Ints, places: ImagePlaces
) -> tuple[Ints, Ints, Ints]:
    """Return the candidates whose place is one of those files', with file and offset, in order of time."""
    ev = window.events
    length = blocks.bios.size
    data = np.flatnonzero(is_candidate)
    data = data[(length[data] > 0) & (blocks.bios.upper[data] < 0) & np.isin(ev.flags[blocks.bio[data]], _DATA_OPS)]
    wanted = np.unique(number)
    parts = []
    for device in places.places.devices if data.size else ():
        mine = data[blocks.bio_device[data] == device]
        start = blocks.bio_offset[mine]
        found = places.places.find(device, start, start + length[mine])
        request, first = np.unique(found.request, return_index=True)
        known = np.isin(found.image[first], wanted)
        parts.append(np.stack([mine[request[known]], found.image[first[known]], found.offset[first[known]]]))
    joined = np.concatenate([np.empty((3, 0), dtype=np.int64), *parts], axis=1)
    bio, file, offset = joined[:, np.argsort(joined[0], kind="stable")]
    return bio, file, offset


def _key(file: Ints, offset: Ints) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray((file.astype(np.uint64) << _FILE_BITS) | (offset.astype(np.uint64) >> np.uint64(9)))


def _submitted(window: Window, carriers: Carriers, calls: SystemCalls, work: Ints, bio: Ints) -> Ints:
    """Return by when the block layer had been given a bio: the end of an asynchronous call, else the work's begin."""
    begin = carriers.work[work]
    end = _call_end(window, carriers, calls, work)
    return np.where((end > begin) & (end < bio), end, begin)


def _call_end(window: Window, carriers: Carriers, calls: SystemCalls, work: Ints) -> Ints:
    """Return the end of the system call around the begin of each piece of work, -1 where there is none."""
    tid = window.events.tid
    order = np.argsort(carriers.work[work], kind="stable")
    at = carriers.work[work][order]
    found = np.full(work.size, NONE, dtype=np.int64)
    found[order] = latest_before(at, tid[at].astype(np.uint64), calls.begin, tid[calls.begin].astype(np.uint64))
    end = picked(calls.end, found)
    return np.where(end > carriers.work[work], end, NONE)


def _must_have(
    window: Window,
    frames: Frames,
    carriers: Carriers,
    calls: SystemCalls,
    work: Ints,
    number: Ints,
    places: ImagePlaces,
) -> Bools:
    """Tell of work that has no bio whether it needed one: a read of a hole does not, and ends within its call."""
    ev = window.events
    kind = ev.flags[frames.submit[carriers.work_submit[work]]]
    must = (kind & _TYPE_WRITE) != 0
    call_end = _call_end(window, carriers, calls, work)
    is_late = (call_end >= 0) & (carriers.work_end[work] > call_end)
    for one in np.unique(number).tolist():
        mine = np.flatnonzero(number == one)
        has_blocks, is_known = places.has_blocks(one, ev.offset[carriers.work[work[mine]]])
        must[mine] |= has_blocks if is_known else is_late[mine]
    return np.asarray(must)
