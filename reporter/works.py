"""Work of the host's file systems: direct IO and fsync on a file, each from its begin to its end.

io_uring and the loop device first try without waiting. Where that fails, at once or for pages in the cache, a kernel
thread does the same once more: that is a retry. An attempt that met cached pages has no end; it is given up.
"""

from dataclasses import dataclass

import numpy as np

from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, latest_before, pair, picked
from vio.reporter.sectors import find_attempts, work_begins, work_ends

_FSYNCS = ("fsync_ext4", "fsync_xfs")
_RETRIES = 8


@dataclass(frozen=True, slots=True)
class Works:
    """Begins of direct IO and fsync in order, as event indices; `end` -1 while it lasts or where none is seen.

    `retried` is the position of the failed work that each repeats, or -1; `around` the begin of the kernel's
    asynchronous fsync that each is done for, or -1.
    """

    begin: Ints
    end: Ints
    retried: Ints
    is_given_up: Bools
    is_direct: Bools
    around: Ints


def read_works(window: Window) -> Works:
    """Find the file systems' work in a window."""
    ev = window.events
    dio, dio_end = window.at("dio"), window.at("dio_end")
    place = work_begins(ev.space, ev.key, ev.offset, dio)
    pairs = pair(dio, place, dio_end, work_ends(ev.space, ev.key, ev.offset, ev.bytes, ev.flags, dio_end))
    dio_ends = picked(dio_end, pairs.end)
    dio_retried, dio_given_up = find_attempts(place, dio, dio_ends, ev.flags)
    begin = window.at("dio", *_FSYNCS)
    is_direct = window.is_at(begin, "dio")
    direct, syncs = np.flatnonzero(is_direct), np.flatnonzero(~is_direct)
    sync, sync_end = begin[syncs], window.at("fsync_ext4_end")
    sync_pairs = pair(sync, ev.tid[sync].astype(np.uint64), sync_end, ev.tid[sync_end].astype(np.uint64))
    end, retried, around = (np.full(begin.size, NONE, dtype=np.int64) for _ in range(3))
    around[syncs], around_end = _around_syncs(window, sync)
    end[direct], end[syncs] = dio_ends, picked(sync_end, sync_pairs.end)
    # where the file system says no end (xfs)
    end[syncs] = np.where(end[syncs] < 0, around_end, end[syncs])
    retried[direct] = picked(direct, dio_retried)
    is_given_up = np.zeros(begin.size, dtype=np.bool_)
    is_given_up[direct] = dio_given_up
    return Works(begin, end, retried, is_given_up, is_direct, around)


def _around_syncs(window: Window, sync: Ints) -> tuple[Ints, Ints]:
    """Return begin and end of the kernel's asynchronous fsync that each fsync is done for, -1 where there is none."""
    tid = window.events.tid
    begin, end = window.at("aio_fsync"), window.at("aio_fsync_end")
    begin_tid = tid[begin].astype(np.uint64)
    ends = picked(end, pair(begin, begin_tid, end, tid[end].astype(np.uint64)).end)
    latest = latest_before(sync, tid[sync].astype(np.uint64), begin, begin_tid)
    ended = picked(ends, latest)
    latest[(ended >= 0) & (ended < sync)] = NONE
    return picked(begin, latest), picked(ends, latest)


def pass_on_to_retries(owner: Ints, works: Works) -> Ints:
    """Give each retry without an owner that of the work that it repeats."""
    for _ in range(_RETRIES):
        orphans = np.flatnonzero((owner < 0) & (works.retried >= 0))
        orphans = orphans[owner[works.retried[orphans]] >= 0]
        if not orphans.size:
            break
        owner[orphans] = owner[works.retried[orphans]]
    return owner
