"""What the kernel does with each hand-over: the system call or io_uring request, and the file system's work.

aio=native carries by io_submit (many at once), io_uring by its own requests, threads by a system call in a worker.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.match import (
    NONE,
    Bools,
    Ints,
    Keys,
    codes_of,
    latest_before,
    pair,
    stable_order,
    usual_gap,
)

_READS = ("pread64", "preadv", "preadv2")
_WRITES = ("pwrite64", "pwritev", "pwritev2")
_SYNCS = ("fdatasync", "fsync")
_CALLS = (*_READS, *_WRITES, *_SYNCS, "fallocate", "io_submit")
_FSYNCS = ("fsync_ext4", "fsync_xfs")
_FAILED = 1  # flags of dio_end
_RETRIES = 8

# RawPosixAIOData.aio_type (QEMU include/block/raw-aio.h): which system calls a worker makes for it.
_TYPE_READ, _TYPE_WRITE, _TYPE_FLUSH, _TYPE_DISCARD, _TYPE_ZEROES = 1, 2, 8, 0x10, 0x20


@dataclass(frozen=True, slots=True)
class Carriers:
    """How submits (positions in Frames.submit) go on; event indices, -1 where there is none.

    `carrier` is the system call or io_uring request; `carrier_end` its end (io_submit: the end of the aio).
    `work` are the file-system begins, `work_end` their ends, `work_submit` the submit each belongs to or -1.
    """

    carrier: Ints
    carrier_end: Ints
    is_ambiguous: Bools
    work: Ints
    work_end: Ints
    work_submit: Ints


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """System calls of the window with their ends (-1: still running)."""

    begin: Ints
    end: Ints


class CarrierReader:
    """Find the carriers in windows; remembers where luring_co_submit keeps what it gives to io_uring."""

    def __init__(self, image_files: frozenset[tuple[int, int]]) -> None:
        self._image_files = image_files
        self._uring_distance: int | None = None

    def read(self, window: Window, frames: Frames) -> tuple[Carriers, SystemCalls]:
        """Return the carriers of a window's submits, and all its system calls."""
        calls = read_calls(window)
        count = frames.submit.size
        carrier = np.full(count, NONE, dtype=np.int64)
        carrier_end = np.full(count, NONE, dtype=np.int64)
        ambiguous = np.zeros(count, dtype=np.bool_)
        work, work_end = read_work(window)
        self._carry_pool(window, frames, calls, carrier, carrier_end, ambiguous)
        self._carry_uring(window, frames, carrier, carrier_end)
        is_image = self._is_image(window, work)
        work_submit = self._own_work(
            window, frames, calls, carrier, ambiguous, work, is_image, find_retried(window, work, work_end)
        )
        self._end_native(window, frames, carrier, carrier_end, work, work_end, work_submit)
        return Carriers(carrier, carrier_end, ambiguous, work, work_end, work_submit), calls

    def _is_image(self, window: Window, work: Ints) -> Bools:
        ev = window.events
        result = np.zeros(work.size, dtype=np.bool_)
        for device, inode in self._image_files:
            result |= (ev.space[work] == device) & (ev.key[work] == inode)
        return result

    @staticmethod
    def _carry_pool(
        window: Window, frames: Frames, calls: SystemCalls, carrier: Ints, carrier_end: Ints, ambiguous: Bools
    ) -> None:
        """A worker's system call has the descriptor and the offset that were queued; the first queued goes first."""
        ev = window.events
        pool = np.flatnonzero(window.is_at(frames.submit, "pool"))
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
        done = np.where(done >= 0, complete[done], NONE) if complete.size else np.full(submit.size, NONE)
        carrier_end[mine[found]] = done[pairs.end[found]]

    def _own_work(
        self,
        window: Window,
        frames: Frames,
        calls: SystemCalls,
        carrier: Ints,
        ambiguous: Bools,
        work: Ints,
        is_image: Bools,
        earlier: Ints,
    ) -> Ints:
        """Return the submit of each piece of file-system work on an image."""
        ev = window.events
        owner = np.full(work.size, NONE, dtype=np.int64)
        image = np.flatnonzero(is_image)
        self._own_native(window, frames, calls, carrier, ambiguous, work, image, owner)
        submit_of = np.full(len(ev), NONE, dtype=np.int64)
        has = np.flatnonzero(carrier >= 0)
        submit_of[carrier[has]] = has
        rest = image[owner[image] < 0]
        around = np.sort(np.concatenate([calls.begin, window.at("uring_submit")]))
        found = latest_before(
            work[rest], ev.tid[work[rest]].astype(np.uint64), around, ev.tid[around].astype(np.uint64)
        )
        inside = found >= 0
        owner[rest[inside]] = submit_of[around[found[inside]]]
        self._own_punted(window, frames, work, image, owner)
        return pass_on_to_retries(owner, earlier)

    @staticmethod
    def _own_native(
        window: Window,
        frames: Frames,
        calls: SystemCalls,
        carrier: Ints,
        ambiguous: Bools,
        work: Ints,
        image: Ints,
        owner: Ints,
    ) -> None:
        """aio=native: inside io_submit the requests of a thread come in the order in which they were queued."""
        ev = window.events
        mine = np.flatnonzero(window.is_at(frames.submit, "laio"))
        if not mine.size:
            return
        at = frames.submit[mine]
        direct = image[window.is_at(work[image], "dio")]
        begin = work[direct]
        pairs = pair(at, _thread_key(ev.tid[at], ev.offset[at]), begin, _thread_key(ev.tid[begin], ev.offset[begin]))
        found = np.flatnonzero(pairs.end >= 0)
        owner[direct[pairs.end[found]]] = mine[found]
        ambiguous[mine] |= pairs.is_ambiguous
        io_submit = window.at("io_submit")
        first = begin[pairs.end[found]]
        around = latest_before_unsorted(
            first, ev.tid[first].astype(np.uint64), io_submit, ev.tid[io_submit].astype(np.uint64)
        )
        carrier[mine[found]] = np.where(around >= 0, io_submit[around], NONE) if io_submit.size else NONE

    @staticmethod
    def _own_punted(window: Window, frames: Frames, work: Ints, image: Ints, owner: Ints) -> None:
        """io_uring may leave a request to a kernel thread: then the place in the file must do."""
        ev = window.events
        direct = image[(owner[image] < 0) & window.is_at(work[image], "dio")]
        uring = np.flatnonzero(window.is_at(frames.submit, "luring"))
        if not direct.size or not uring.size:
            return
        uring = uring[~np.isin(uring, owner)]
        at, begin = frames.submit[uring], work[direct]
        pairs = pair(at, ev.offset[at].astype(np.uint64), begin, ev.offset[begin].astype(np.uint64))
        found = pairs.end >= 0
        owner[direct[pairs.end[found]]] = uring[found]

    @staticmethod
    def _end_native(
        window: Window, frames: Frames, carrier: Ints, carrier_end: Ints, work: Ints, work_end: Ints, work_submit: Ints
    ) -> None:
        """The kernel's asynchronous request ends with the file system's work: ki_complete follows it at once."""
        native = window.is_at(frames.submit, "laio") & (carrier >= 0)
        owned = np.flatnonzero((work_submit >= 0) & (work_end >= 0))
        last = np.full(frames.submit.size, NONE, dtype=np.int64)
        np.maximum.at(last, work_submit[owned], work_end[owned])
        carrier_end[native] = last[native]


def read_calls(window: Window) -> SystemCalls:
    """Pair the system calls' entries and exits; a thread is in one at a time."""
    ev = window.events
    begin = window.at(*_CALLS)
    end = window.at(*(f"{name}_end" for name in _CALLS))
    pairs = pair(begin, ev.tid[begin].astype(np.uint64), end, ev.tid[end].astype(np.uint64))
    return SystemCalls(begin, np.where(pairs.end >= 0, end[pairs.end], NONE) if end.size else pairs.end)


def read_work(window: Window) -> tuple[Ints, Ints]:
    """Return the file systems' begins (direct IO, fsync) in order, and the end of each or -1."""
    ev = window.events
    dio, dio_end = window.at("dio"), window.at("dio_end")
    start = np.where(ev.flags[dio_end] == _FAILED, ev.offset[dio_end], ev.offset[dio_end] - ev.bytes[dio_end])
    pairs = pair(
        dio,
        _inode_key(ev.space[dio], ev.key[dio], ev.offset[dio]),
        dio_end,
        _inode_key(ev.space[dio_end], ev.key[dio_end], start),
    )
    sync, sync_end = window.at(*_FSYNCS), window.at("fsync_ext4_end")
    sync_pairs = pair(sync, ev.tid[sync].astype(np.uint64), sync_end, ev.tid[sync_end].astype(np.uint64))
    work = np.concatenate([dio, sync])
    end = np.concatenate([_events_of(dio_end, pairs.end), _events_of(sync_end, sync_pairs.end)])
    order = np.argsort(work, kind="stable")
    return work[order], end[order]


def find_retried(window: Window, work: Ints, work_end: Ints) -> Ints:
    """Return for each piece of direct IO the one that it repeats (position), or -1.

    io_uring and the loop device first try without waiting; where that fails a kernel thread does the same once more.
    """
    ev = window.events
    retried = np.full(work.size, NONE, dtype=np.int64)
    has_failed = (work_end >= 0) & (ev.flags[work_end] == _FAILED) & window.is_at(work, "dio")
    if not has_failed.any():
        return retried
    codes = codes_of(_inode_key(ev.space[work], ev.key[work], ev.offset[work]))
    order = stable_order(codes)
    before, here = order[:-1], order[1:]
    is_retry = (codes[before] == codes[here]) & has_failed[before] & (work_end[before] < work[here])
    retried[here[is_retry]] = before[is_retry]
    return retried


def pass_on_to_retries(owner: Ints, retried: Ints) -> Ints:
    """Give each retry without an owner that of the work that it repeats."""
    for _ in range(_RETRIES):
        orphans = np.flatnonzero((owner < 0) & (retried >= 0))
        orphans = orphans[owner[retried[orphans]] >= 0]
        if not orphans.size:
            break
        owner[orphans] = owner[retried[orphans]]
    return owner


def latest_before_unsorted(child: Ints, child_key: Keys, parent: Ints, parent_key: Keys) -> Ints:
    """As latest_before, for children in any order."""
    order = np.argsort(child, kind="stable")
    found = np.empty(child.size, dtype=np.int64)
    found[order] = latest_before(child[order], child_key[order], parent, parent_key)
    return found


def _events_of(events: Ints, position: Ints) -> Ints:
    return np.where(position >= 0, events[position], NONE) if events.size else position


def _file_key(descriptor: npt.NDArray[np.uint32], offset: Ints) -> Keys:
    return (descriptor.astype(np.uint64) << np.uint64(48)) ^ offset.astype(np.uint64)


def _thread_key(tid: npt.NDArray[np.int32], offset: Ints) -> Keys:
    return (tid.astype(np.uint64) << np.uint64(42)) ^ (offset.astype(np.uint64) >> np.uint64(9))


def _inode_key(device: npt.NDArray[np.uint32], inode: Keys, offset: Ints) -> Keys:
    mixed = (inode ^ (device.astype(np.uint64) << np.uint64(24))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ offset.astype(np.uint64)
