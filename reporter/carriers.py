"""What the kernel does with each hand-over: the system call or io_uring request, and the file system's work.

aio=native carries by io_submit (many at once), io_uring by its own requests, threads by a system call in a worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.match import NONE, Bools, Ints, Keys, first_after, latest_before, pair, picked, usual_gap
from vio.reporter.sectors import on_thread, which_file
from vio.reporter.threads import find_causes, last_of
from vio.reporter.works import Works, pass_on_to_retries, read_works

_READS = ("pread64", "preadv", "preadv2")
_WRITES = ("pwrite64", "pwritev", "pwritev2")
_SYNCS = ("fdatasync", "fsync")
_CALLS = (*_READS, *_WRITES, *_SYNCS, "fallocate", "io_submit")

# RawPosixAIOData.aio_type (QEMU include/block/raw-aio.h): which system calls a worker makes for it.
_TYPE_READ, _TYPE_WRITE, _TYPE_FLUSH, _TYPE_DISCARD, _TYPE_ZEROES = 1, 2, 8, 0x10, 0x20

FileId = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Carriers:
    """How submits (positions in Frames.submit) go on; event indices, -1 where there is none.

    `carrier` is the system call or io_uring request; `carrier_end` its end (io_submit: the end of the aio).
    `work` are the file-system begins, `work_end` their ends, `work_submit` the submit each belongs to or -1; `works`
    says more of them. `around` is what the threads are in.
    """

    carrier: Ints
    carrier_end: Ints
    is_ambiguous: Bools
    work: Ints
    work_end: Ints
    work_submit: Ints
    works: Works
    around: "Arounds"


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """System calls of the window with their ends (-1: still running)."""

    begin: Ints
    end: Ints


@dataclass(frozen=True, slots=True)
class Arounds:
    """System calls and io_uring's requests, in which a thread is; ends (-1: still running), and for which submit."""

    begin: Ints
    end: Ints
    submit: Ints


class CarrierReader:
    """Find the carriers in windows; remembers where luring_co_submit keeps what it gives to io_uring."""

    def __init__(
        self, image_files: frozenset[FileId], descriptors: Mapping[int, FileId] = MappingProxyType({})
    ) -> None:
        self._image_files = tuple(sorted(image_files))
        self._descriptors = descriptors
        self._uring_distance: int | None = None

    def read(self, window: Window, frames: Frames) -> tuple[Carriers, SystemCalls]:
        """Return the carriers of a window's submits, and all its system calls."""
        calls = read_calls(window)
        count = frames.submit.size
        carrier = np.full(count, NONE, dtype=np.int64)
        carrier_end = np.full(count, NONE, dtype=np.int64)
        ambiguous = np.zeros(count, dtype=np.bool_)
        works = read_works(window)
        self._carry_pool(window, frames, calls, carrier, carrier_end, ambiguous)
        self._carry_uring(window, frames, carrier, carrier_end)
        files = self._files(window, works)
        image = np.flatnonzero((files >= 0) & ~works.is_given_up)
        work_submit = np.full(works.begin.size, NONE, dtype=np.int64)
        self._own_native(window, frames, carrier, ambiguous, works.begin, image, files, work_submit)
        _carry_native_flushes(window, frames, carrier)
        around = _arounds(window, calls, carrier)
        self._own_rest(window, frames, around, works, files, image, work_submit)
        self._end_native(window, frames, carrier, carrier_end, works.end, work_submit)
        return Carriers(carrier, carrier_end, ambiguous, works.begin, works.end, work_submit, works, around), calls

    def _files(self, window: Window, works: Works) -> Ints:
        """Return for each piece of work which image file it is on, or -1."""
        devices = np.array([device for device, _ in self._image_files], dtype=np.int64)
        inodes = np.array([inode for _, inode in self._image_files], dtype=np.uint64)
        return which_file(window.events.space, window.events.key, works.begin, devices, inodes)

    def _files_of_submits(self, window: Window, frames: Frames, submits: Ints) -> Ints:
        """Return for each hand-over which image file its descriptor is, or -1."""
        descriptors, which = np.unique(window.events.space[frames.submit[submits]], return_inverse=True)
        names = [self._descriptors.get(int(one)) for one in descriptors]
        files = [self._image_files.index(name) if name in self._image_files else NONE for name in names]
        return np.array(files, dtype=np.int64)[which]

    @staticmethod
    def _carry_pool(
        window: Window, frames: Frames, calls: SystemCalls, carrier: Ints, carrier_end: Ints, ambiguous: Bools
    ) -> None:
        """A worker's system call has the descriptor and the offset that were queued; the first queued goes first."""
        ev = window.events
        pool = np.flatnonzero(window.is_at(frames.submit, "pool"))
        if not pool.size:
            return
        kind = ev.flags[frames.submit[pool]]
        for types, names in (
            (_TYPE_READ, _READS),
            (_TYPE_WRITE, _WRITES),
            (_TYPE_FLUSH, _SYNCS),
            (_TYPE_DISCARD | _TYPE_ZEROES, ("fallocate",)),
        ):
            mine = pool[(kind & types) != 0]
            at = frames.submit[mine]
            of_kind = np.flatnonzero(window.is_at(calls.begin, *names))
            begin = calls.begin[of_kind]
            where = np.zeros(at.size, dtype=np.int64) if types == _TYPE_FLUSH else ev.offset[at]
            pairs = pair(at, _file_key(ev.space[at], where), begin, _file_key(ev.space[begin], ev.offset[begin]))
            found = pairs.end >= 0
            chosen = of_kind[pairs.end[found]]
            carrier[mine[found]] = calls.begin[chosen]
            carrier_end[mine[found]] = calls.end[chosen]
            ambiguous[mine] |= pairs.is_ambiguous

    def _carry_uring(self, window: Window, frames: Frames, carrier: Ints, carrier_end: Ints) -> None:
        """user_data points to a structure in luring_co_submit's frame: always as far from the stack pointer."""
        ev = window.events
        mine = np.flatnonzero(window.is_at(frames.submit, "luring"))
        submit, complete = window.at("uring_submit"), window.at("uring_complete")
        if not mine.size or not submit.size:
            return
        at = frames.submit[mine]
        low = (ev.key[submit] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        if self._uring_distance is None:
            self._uring_distance = usual_gap(ev.aux[at], low, 4096)
        if self._uring_distance is None:
            return
        keys = (low + np.uint32(self._uring_distance)).astype(np.uint64)
        pairs = pair(at, ev.aux[at].astype(np.uint64), submit, keys)
        found = pairs.end >= 0
        carrier[mine[found]] = submit[pairs.end[found]]
        done = pair(submit, ev.key[submit], complete, ev.key[complete]).end
        carrier_end[mine[found]] = picked(complete, done)[pairs.end[found]]

    def _own_rest(
        self,
        window: Window,
        frames: Frames,
        around: Arounds,
        works: Works,
        files: Ints,
        image: Ints,
        owner: Ints,
    ) -> None:
        """Find the submits of the work on images that is not aio=native's: by what its thread is in."""
        rest = image[owner[image] < 0]
        none = image[:0]
        owner[rest] = find_causes(
            *(works.begin[rest], none, none, none), *(around.begin, around.end, around.submit), window.events.tid
        )[1]
        pass_on_to_retries(owner, works)
        self._own_punted(window, frames, works, files, owner)
        pass_on_to_retries(owner, works)

    def _own_native(
        self,
        window: Window,
        frames: Frames,
        carrier: Ints,
        ambiguous: Bools,
        work: Ints,
        image: Ints,
        files: Ints,
        owner: Ints,
    ) -> None:
        """aio=native: inside io_submit the requests of a thread come in the order in which they were queued."""
        ev = window.events
        mine = np.flatnonzero(window.is_at(frames.submit, "laio"))
        mine = mine[~_is_flush(window, frames, mine)]
        if not mine.size:
            return
        at = frames.submit[mine]
        direct = image[window.is_at(work[image], "dio")]
        begin = work[direct]
        at_file, begin_file = np.zeros_like(at), np.zeros_like(begin)
        if len(self._image_files) > 1:
            known = self._files_of_submits(window, frames, mine)
            if (known >= 0).all():  # not so with descriptors that opened later: then thread and place must do
                at_file, begin_file = known, files[direct]
        at_key = on_thread(ev.tid, ev.offset, at, at_file)
        pairs = pair(at, at_key, begin, on_thread(ev.tid, ev.offset, begin, begin_file))
        found = np.flatnonzero(pairs.end >= 0)
        owner[direct[pairs.end[found]]] = mine[found]
        ambiguous[mine] |= pairs.is_ambiguous
        io_submit = window.at("io_submit")
        around = latest_before(begin, ev.tid[begin].astype(np.uint64), io_submit, ev.tid[io_submit].astype(np.uint64))
        carrier[mine] = picked(picked(io_submit, around), pairs.end)

    def _own_punted(self, window: Window, frames: Frames, works: Works, files: Ints, owner: Ints) -> None:
        """The kernel may leave io_uring's request to a worker, and always an fsync: file and place must do."""
        ev = window.events
        asked = np.flatnonzero(window.is_at(frames.submit, "luring", "laio"))
        is_flush = _is_flush(window, frames, asked)
        asked = asked[is_flush | window.is_at(frames.submit[asked], "luring")]
        free = np.flatnonzero((files >= 0) & (owner < 0) & ~works.is_given_up)
        if not free.size or not asked.size:
            return
        asked = asked[~np.isin(asked, owner)]
        file_of = self._files_of_submits(window, frames, asked)
        if (file_of < 0).any():  # descriptors that opened later: the place alone must do
            file_of, files = np.zeros_like(file_of), np.zeros_like(files)
        is_flush = _is_flush(window, frames, asked)
        for mine, theirs in (
            (asked[~is_flush], free[works.is_direct[free]]),
            (asked[is_flush], free[~works.is_direct[free]]),
        ):
            at, begin = frames.submit[mine], works.begin[theirs]
            keys = _file_key(file_of[np.isin(asked, mine)], ev.offset[at])
            pairs = pair(at, keys, begin, _file_key(files[theirs], ev.offset[begin]))
            found = pairs.end >= 0
            owner[theirs[pairs.end[found]]] = mine[found]

    @staticmethod
    def _end_native(
        window: Window, frames: Frames, carrier: Ints, carrier_end: Ints, work_end: Ints, work_submit: Ints
    ) -> None:
        """The kernel's asynchronous request ends with the file system's work: ki_complete follows it at once."""
        native = window.is_at(frames.submit, "laio") & (carrier >= 0)
        carrier_end[native] = last_of(work_submit, work_end, frames.submit.size)[native]


def _is_flush(window: Window, frames: Frames, submits: Ints) -> Bools:
    return np.asarray(window.events.flags[frames.submit[submits]] == _TYPE_FLUSH)


def _carry_native_flushes(window: Window, frames: Frames, carrier: Ints) -> None:
    """aio=native: the next io_submit of its thread takes a flush along, since QEMU 9.1."""
    tid = window.events.tid
    mine = np.flatnonzero(window.is_at(frames.submit, "laio"))
    mine = mine[_is_flush(window, frames, mine)]
    at, io_submit = frames.submit[mine], window.at("io_submit")
    after = first_after(at, tid[at].astype(np.uint64), io_submit, tid[io_submit].astype(np.uint64))
    carrier[mine] = picked(io_submit, after)


def read_calls(window: Window) -> SystemCalls:
    """Pair the system calls' entries and exits; a thread is in one at a time."""
    ev = window.events
    begin = window.at(*_CALLS)
    end = window.at(*(f"{name}_end" for name in _CALLS))
    pairs = pair(begin, ev.tid[begin].astype(np.uint64), end, ev.tid[end].astype(np.uint64))
    return SystemCalls(begin, picked(end, pairs.end))


def _arounds(window: Window, calls: SystemCalls, carrier: Ints) -> Arounds:
    begin = window.at(*_CALLS, "uring_submit")
    end = np.full(begin.size, NONE, dtype=np.int64)
    end[~window.is_at(begin, "uring_submit")] = calls.end
    submit_of = np.full(len(window.events), NONE, dtype=np.int64)
    has = np.flatnonzero(carrier >= 0)
    submit_of[carrier[has]] = has
    return Arounds(begin, end, submit_of[begin])


def _file_key(descriptor: npt.NDArray[np.integer[Any]], offset: Ints) -> Keys:
    return (descriptor.astype(np.uint64) << np.uint64(48)) ^ offset.astype(np.uint64)
