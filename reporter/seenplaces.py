"""From a joined window: where in the image file the guest's requests went, as QEMU's block layer shows it twice.

The request is seen at the guest's address, and the call that the format driver makes for it at the file's. Both have
the guest's own buffer, a QEMUIOVector, where nothing is put between: that tells data from tables and from copies.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from vio.reporter.compiled import are_among
from vio.reporter.join import Joined
from vio.reporter.match import Bools, Ints, picked
from vio.reporter.sightings import GONE, Ranges

_ZERO_WRITE = 2  # BDRV_REQ_ZERO_WRITE
IN_PIECES, NO_END, OTHER_BUFFER = (
    "cut into pieces, of which it is not certain which is which",
    "writes of which no end was seen",
    "not in the guest's own buffer (compressed, encrypted, copied)",
)


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """A disk's number, the descriptors of the file with its data, and how qcow2 lays it out.

    `cluster_bytes` and `subcluster_bytes` (what is allocated at once) are 0 where they are not known; `size_bytes` is
    the guest disk's, or more than any has. `tables` are begins and ends of the image's own tables in that file.
    """

    disk: int
    descriptors: Ints
    cluster_bytes: int
    subcluster_bytes: int
    size_bytes: int
    tables: tuple[Ints, Ints]

    def outward(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Grow ranges to what is allocated at once."""
        unit = self.subcluster_bytes or 1
        return start // unit * unit, np.maximum(end, np.minimum(-(-end // unit) * unit, self.size_bytes))

    def inward(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Shrink ranges to whole clusters; one that ends with the disk is whole."""
        unit = self.cluster_bytes or 1
        return -(-start // unit) * unit, np.where(end == self.size_bytes, end, end // unit * unit)

    def is_table(self, offset: Ints) -> Bools:
        """Tell which places in the file are of the image's own tables."""
        start, end = self.tables
        at = np.searchsorted(start, offset, side="right") - 1
        return np.asarray((at >= 0) & (offset < np.append(end, 0)[at]))


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls on the file for IOs that are done, those on tables left out: positions in Frames.call, IO and its root."""

    call: Ints
    io: Ints
    root: Ints
    is_own: Bools
    is_alike: Bools
    bytes: Ints
    offset: Ints


def seen_places(joined: Joined, disk: Ints, layout: ImageLayout, left_out: Counter[str]) -> Ranges:
    """Return where the IOs of a disk that are done in this window went; count what is not told by its reason."""
    calls = _calls_on(joined, layout)
    parts = [_gone(joined, disk, layout, calls)]
    if calls.call.size:
        count = joined.ios.begin.size
        own = np.bincount(calls.io[calls.is_own], minlength=count)
        size = np.bincount(calls.io[calls.is_own], calls.bytes[calls.is_own], minlength=count)
        whole = joined.window.events.bytes[joined.frames.call[calls.root]]
        is_full = size[calls.io] == whole
        is_only = is_full & (own[calls.io] == np.bincount(calls.io, minlength=count)[calls.io])
        is_one = calls.is_own & is_full & (own[calls.io] == 1)
        is_cut = calls.is_own & is_only & (own[calls.io] > 1)
        left_out[IN_PIECES] += int(np.unique(calls.io[calls.is_own & ~is_one & ~is_cut]).size)
        ev, root = joined.window.events, joined.frames.call[calls.root]
        guest = ev.offset[root].copy()
        guest[is_cut] += _ahead(calls.io[is_cut], calls.bytes[is_cut])
        around = _around(joined, layout, calls, own[calls.io] == 0, left_out)
        guest[around] = _begin_of(layout, guest[around], calls.offset[around])
        told = np.flatnonzero(is_one | is_cut | around)
        parts.append(_placed(joined, layout, calls, told, guest[told], left_out))
    return Ranges.joined(parts)


def _calls_on(joined: Joined, layout: ImageLayout) -> _Calls:
    ev, frames, ios = joined.window.events, joined.frames, joined.ios
    submits = np.flatnonzero(are_among(ev.space[frames.submit], layout.descriptors) & (frames.submit_parent >= 0))
    is_call = np.zeros(frames.call.size, dtype=np.bool_)
    is_call[frames.submit_parent[submits]] = True
    call = np.flatnonzero(is_call & (joined.call_io >= 0))
    call = call[joined.is_done[joined.call_io[call]]]
    root = ios.root[joined.call_io[call]]
    call, root = call[root >= 0], root[root >= 0]
    at, top = frames.call[call], frames.call[root]
    call, root, at, top = (column[~layout.is_table(ev.offset[at])] for column in (call, root, at, top))
    is_alike = ev.point[at] == ev.point[top]
    is_alike &= joined.window.is_at(at, "bdrv_read", "bdrv_write") & ((ev.flags[at] | ev.flags[top]) & _ZERO_WRITE == 0)
    is_own = is_alike & (ev.key[at] == ev.key[top])
    return _Calls(call, joined.call_io[call], root, is_own, is_alike, ev.bytes[at], ev.offset[at])


def _ahead(io: Ints, size: Ints) -> Ints:
    """Return how many bytes of its request come before each piece; pieces begin in the order of their addresses."""
    order = np.argsort(io, kind="stable")
    before = np.cumsum(size[order]) - size[order]
    is_first = np.append(True, np.diff(io[order]) != 0)[: io.size]
    before -= np.maximum.accumulate(np.where(is_first, before, 0))
    ahead = np.empty(io.size, dtype=np.int64)
    ahead[order] = before
    return ahead


def _around(joined: Joined, layout: ImageLayout, calls: _Calls, is_without: Bools, left_out: Counter[str]) -> Bools:
    """Tell the writes that carry the guest's data and, around it, the rest of a new cluster: one such to an IO."""
    ev = joined.window.events
    root = joined.frames.call[calls.root]
    other = calls.is_alike & is_without
    start, end = ev.offset[root], ev.offset[root] + ev.bytes[root]
    begin = _begin_of(layout, start, calls.offset)
    fits = other & joined.window.is_at(root, "bdrv_write") & (begin <= start) & (begin + calls.bytes >= end)
    fits &= layout.cluster_bytes > 0
    count = joined.ios.begin.size
    is_one = fits & (np.bincount(calls.io[fits], minlength=count)[calls.io] == 1)
    is_told = np.bincount(calls.io[is_one], minlength=count)[calls.io] > 0
    left_out[OTHER_BUFFER] += int(np.unique(calls.io[other & ~is_told]).size)
    return np.asarray(is_one)


def _begin_of(layout: ImageLayout, guest: Ints, offset: Ints) -> Ints:
    """Return the guest's address of a place in the file that is in the same cluster as `guest`."""
    cluster = layout.cluster_bytes or 1
    return guest // cluster * cluster + offset % cluster


def _placed(
    joined: Joined, layout: ImageLayout, calls: _Calls, told: Ints, guest: Ints, left_out: Counter[str]
) -> Ranges:
    """Make sightings. A read looked its place up before its call; a write's is certain between that call's and its end.

    What was read or written tells of all that is allocated with it.
    """
    ev, frames = joined.window.events, joined.frames
    call, root = calls.call[told], calls.root[told]
    is_write = joined.window.is_at(frames.call[root], "bdrv_write")
    end, root_end = picked(frames.call_end, call), picked(frames.call_end, root)
    has_ended = ~is_write | ((end >= 0) & (root_end >= 0))
    left_out[NO_END] += int(np.unique(calls.io[told[~has_ended]]).size)
    until = np.where(is_write, ev.ts_ns[root_end], ev.ts_ns[frames.call[call]])
    from_ns = np.minimum(np.where(is_write, ev.ts_ns[end], ev.ts_ns[frames.call[root]]), until)
    start, stop = layout.outward(guest, guest + calls.bytes[told])
    every = (start, stop, calls.offset[told] - guest, from_ns, until)
    return Ranges.of(*(column[has_ended] for column in every))


def _gone(joined: Joined, disk: Ints, layout: ImageLayout, calls: _Calls) -> Ranges:
    """Return what was discarded or zeroed, and may have no place now: also by a write that needed no call on the file.

    A discard that QEMU was told to ignore has no end.
    """
    ev, frames, ios = joined.window.events, joined.frames, joined.ios
    is_mine = np.append(joined.is_done & (disk == layout.disk), False)
    call = np.flatnonzero(is_mine[joined.call_io] & (frames.call_parent < 0))
    # of the guest's own node: what qcow2 does beside it, in coroutines of their own, is at addresses of the file
    call = call[ev.space[frames.call[call]] == ios.space[joined.call_io[call]]]
    at, end = frames.call[call], frames.call_end[call]
    has_calls = np.zeros(ios.begin.size + 1, dtype=np.bool_)
    has_calls[calls.io] = True
    is_discard = joined.window.is_at(at, "bdrv_discard") & (end >= 0)
    is_zeroing = joined.window.is_at(at, "bdrv_write") & ((ev.flags[at] & _ZERO_WRITE) != 0)
    # detect-zeroes; where no IO has a call, QEMU's way to the file was not observed
    is_zeroing |= (
        joined.window.is_at(at, "bdrv_write") & (end >= 0) & ~has_calls[joined.call_io[call]] & has_calls.any()
    )
    which = np.flatnonzero(is_discard | is_zeroing)
    at, is_discard = at[which], is_discard[which]
    length = np.where(is_discard, ev.key[at].astype(np.int64), ev.bytes[at])
    begin, stop = ev.offset[at], ev.offset[at] + length
    inner, outer = layout.inward(begin, stop), layout.outward(begin, stop)
    start, stop = (np.where(is_discard, one, other) for one, other in zip(inner, outer, strict=True))
    until = np.where(end[which] >= 0, ev.ts_ns[end[which]], ev.ts_ns[-1] if len(ev) else 0)
    return Ranges.of(start, stop, np.full(which.size, GONE), ev.ts_ns[at], until)
