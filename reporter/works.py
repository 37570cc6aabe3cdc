"""Work of the host's file systems: direct IO and fsync on a file, each from its begin to its end.

io_uring and the loop device first try without waiting. Where that fails, at once or for pages in the cache, a kernel
thread does the same once more: that is a retry. An attempt that met cached pages has no end; it is given up.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, Keys, codes_of, pair, picked, stable_order

_FSYNCS = ("fsync_ext4", "fsync_xfs")
_FAILED = 1  # flags of dio_end
_RETRIES = 8


@dataclass(frozen=True, slots=True)
class Works:
    """Begins of direct IO and fsync in order, as event indices; `end` -1 while it lasts or where none is seen.

    `retried` is the position of the failed work that each repeats, or -1.
    """

    begin: Ints
    end: Ints
    retried: Ints
    is_given_up: Bools
    is_direct: Bools


def read_works(window: Window) -> Works:
    """Find the file systems' work in a window."""
    ev = window.events
    dio, dio_end = window.at("dio"), window.at("dio_end")
    start = np.where(ev.flags[dio_end] == _FAILED, ev.offset[dio_end], ev.offset[dio_end] - ev.bytes[dio_end])
    place = _place(ev.space[dio], ev.key[dio], ev.offset[dio])
    pairs = pair(dio, place, dio_end, _place(ev.space[dio_end], ev.key[dio_end], start))
    dio_ends = picked(dio_end, pairs.end)
    retried, is_given_up = _attempts(window, dio, dio_ends, place)
    sync, sync_end = window.at(*_FSYNCS), window.at("fsync_ext4_end")
    sync_pairs = pair(sync, ev.tid[sync].astype(np.uint64), sync_end, ev.tid[sync_end].astype(np.uint64))
    begin = np.concatenate([dio, sync])
    order = np.argsort(begin, kind="stable")
    new_place = np.empty(order.size, dtype=np.int64)
    new_place[order] = np.arange(order.size)
    none = np.full(sync.size, NONE, dtype=np.int64)
    return Works(
        begin[order],
        np.concatenate([dio_ends, picked(sync_end, sync_pairs.end)])[order],
        np.concatenate([np.where(retried >= 0, new_place[retried], NONE), none])[order],
        np.concatenate([is_given_up, none > 0])[order],
        (order < dio.size),
    )


def _attempts(window: Window, dio: Ints, end: Ints, place: Keys) -> tuple[Ints, Bools]:
    """Return which earlier direct IO each repeats because that had failed, and which were given up without an end."""
    retried = np.full(dio.size, NONE, dtype=np.int64)
    is_given_up = end < 0
    has_failed = ~is_given_up & (window.events.flags[end] == _FAILED)
    if not is_given_up.any() and not has_failed.any():
        return retried, is_given_up
    codes = codes_of(place)
    order = stable_order(codes)
    before, here = order[:-1], order[1:]
    same = codes[before] == codes[here]
    is_given_up[order[-1:]] = False
    is_given_up[before] &= same
    is_retry = same & has_failed[before] & (end[before] < dio[here])
    retried[here[is_retry]] = before[is_retry]
    return retried, is_given_up


def pass_on_to_retries(owner: Ints, works: Works) -> Ints:
    """Give each retry without an owner that of the work that it repeats."""
    for _ in range(_RETRIES):
        orphans = np.flatnonzero((owner < 0) & (works.retried >= 0))
        orphans = orphans[owner[works.retried[orphans]] >= 0]
        if not orphans.size:
            break
        owner[orphans] = owner[works.retried[orphans]]
    return owner


def _place(device: npt.NDArray[np.uint32], inode: Keys, offset: Ints) -> Keys:
    mixed = (inode ^ (device.astype(np.uint64) << np.uint64(24))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ offset.astype(np.uint64)
