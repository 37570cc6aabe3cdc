"""From a joined window: what was written to the page cache through image files, and the bios that write it back.

A write counts from the begin of the system call (or io_uring request) that carries it; a bio from when it was queued.
"""

from dataclasses import dataclass, fields

import numpy as np

from vio.mappers.interval import cut
from vio.reporter.join import Joined
from vio.reporter.match import Bools, Ints, latest_before, picked
from vio.reporter.sectors import OP_FLUSH, place_key

_WRITE, _DISCARD, _ZEROES = 2, 0x10, 0x20  # aio_type of QEMU (include/block/raw-aio.h)
_OP_WRITE = 2
_CUTS = 64  # of one bio
_PWRITES = ("pwrite64",)  # the system calls whose begin says a length


@dataclass(frozen=True, slots=True)
class CacheWrites:
    """Ranges (bytes, end exclusive) of an image file, written to the page cache or dropped from it.

    `at` is the event from which it counts, `submit` the hand-over, `io` the position of its IO, -1 for QEMU's own.
    """

    at: Ints
    submit: Ints
    io: Ints
    start: Ints
    end: Ints
    is_drop: Bools

    def take(self, which: Ints | Bools) -> "CacheWrites":
        """Return the chosen ones."""
        return CacheWrites(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class WriteBios:
    """Bios that write to a device: positions in `Blocks.bio`, their ranges there, and the IO whose call queued each.

    `cause` is the position of that IO, -1 where it was none: the kernel's own writeback, or somebody else's sync.
    """

    bio: Ints
    device: Ints
    start: Ints
    end: Ints
    cause: Ints


def cache_writes(joined: Joined, since_ns: int) -> CacheWrites:
    """Return what began to be written, zeroed or discarded after `since_ns`, in order of time, direct IO left out."""
    ev, frames, carriers = joined.window.events, joined.frames, joined.carriers
    at, kind = carriers.carrier, ev.flags[frames.submit]
    is_ours = joined.window.is_at(frames.submit, "pool", "luring") & (at >= 0) & ~_is_direct(joined)
    is_write = is_ours & ((kind & _WRITE) != 0)
    is_drop = is_ours & ((kind & (_DISCARD | _ZEROES)) != 0) & joined.window.is_at(at, "fallocate")
    is_drop &= (carriers.carrier_end < 0) | (ev.key[carriers.carrier_end] == 0)
    start = ev.offset[frames.submit]
    length = np.where(is_drop, ev.key[at].astype(np.int64), _lengths(joined, is_write))
    which = np.flatnonzero((is_write | is_drop) & (length > 0) & (start >= 0))
    which = which[ev.ts_ns[at[which]] > since_ns]
    which = which[np.argsort(at[which], kind="stable")]
    start, length = start[which], np.minimum(length[which], (1 << 62) - 1)
    start = np.minimum(start, 1 << 62)
    return CacheWrites(at[which], which, joined.submit_io[which], start, start + length, is_drop[which])


def _is_direct(joined: Joined) -> Bools:
    """Tell the hand-overs that the file system did as direct IO, past the page cache."""
    carriers = joined.carriers
    is_direct = np.zeros(joined.frames.submit.size, dtype=np.bool_)
    owned = (carriers.work_submit >= 0) & carriers.works.is_direct & ~carriers.works.is_given_up
    is_direct[carriers.work_submit[owned]] = True
    return is_direct


def _lengths(joined: Joined, is_write: Bools) -> Ints:
    """Return the length of each write: as the hand-over or the system call says it, else from the call around it.

    io_uring's hand-over says none. Of a call that is cut into several, each reaches to the next in order of address.
    """
    ev, frames = joined.window.events, joined.frames
    length = np.where(joined.window.is_at(frames.submit, "pool"), ev.bytes[frames.submit], 0)
    carrier = joined.carriers.carrier
    by_call = (length <= 0) & joined.window.is_at(carrier, *_PWRITES)
    length[by_call] = ev.bytes[carrier[by_call]]
    rest = np.flatnonzero(is_write & (length <= 0) & (frames.submit_parent >= 0))
    if not rest.size:
        return length
    parent, offset = frames.submit_parent[rest], ev.offset[frames.submit[rest]]
    order = np.lexsort((offset, parent))
    rest, parent, offset = rest[order], parent[order], offset[order]
    is_first = np.append(True, parent[1:] != parent[:-1])
    first = np.maximum.accumulate(np.where(is_first, np.arange(rest.size), 0))
    call_end = offset[first] + ev.bytes[frames.call[parent]]
    is_last = np.append(is_first[1:], True)
    end = np.where(is_last, call_end, np.append(offset[1:], 0))
    length[rest] = np.clip(end - offset, 0, ev.bytes[frames.call[parent]])
    return length


def divided(joined: Joined, writes: CacheWrites) -> CacheWrites:
    """Give what QEMU merged to the IOs that were merged: a guest's requests follow each other, as their data does."""
    ios = joined.ios
    followers = np.flatnonzero(ios.head != np.arange(ios.head.size))
    mine = np.flatnonzero((writes.io >= 0) & ~writes.is_drop & np.isin(writes.io, ios.head[followers]))
    if not mine.size:
        return writes
    mine = mine[_carries_data(joined, writes, mine)]
    # The request's own order: its tasks begin one after the other, each with the calls of its addresses.
    mine = mine[np.lexsort((writes.start[mine], writes.submit[mine], writes.io[mine]))]
    members = np.flatnonzero(np.isin(ios.head, writes.io[mine]))
    members = members[np.lexsort((ios.offset[members], ios.head[members]))]
    head = ios.head[members]
    is_known = _is_whole(
        head, ios.offset[members], ios.bytes[members], writes.io[mine], (writes.end - writes.start)[mine]
    )
    members, mine = members[is_known[head]], mine[is_known[writes.io[mine]]]
    if not mine.size:
        return writes
    # All merged requests on one line, one after the other: as the members and as the writes they are equally long.
    member_end = np.cumsum(ios.bytes[members])
    length = writes.end[mine] - writes.start[mine]
    write_end = np.cumsum(length)
    cuts = cut(member_end - ios.bytes[members], member_end, write_end - length, write_end)
    part = mine[cuts.request]
    start = writes.start[part] + cuts.begin - (write_end - length)[cuts.request]
    pieces = writes.take(part)
    pieces = CacheWrites(
        pieces.at, pieces.submit, members[cuts.row], start, start + cuts.end - cuts.begin, pieces.is_drop
    )
    rest = writes.take(np.setdiff1d(np.arange(writes.at.size), mine))
    both = CacheWrites(*(np.concatenate([getattr(rest, f.name), getattr(pieces, f.name)]) for f in fields(rest)))
    return both.take(np.argsort(both.at, kind="stable"))


def _carries_data(joined: Joined, writes: CacheWrites, mine: Ints) -> Bools:
    """Tell the guest's data from QEMU's tables: it has the request's own QEMUIOVector."""
    ev, frames, ios = joined.window.events, joined.frames, joined.ios
    parent, root = frames.submit_parent[writes.submit[mine]], ios.root[writes.io[mine]]
    has = (parent >= 0) & (root >= 0)
    return np.asarray(has & (ev.key[frames.call[parent]] == ev.key[frames.call[root]]))


def _is_whole(head: Ints, offset: Ints, length: Ints, owner: Ints, written: Ints) -> Bools:
    """Tell, by position, the merged requests whose members follow each other and are as long as what was written."""
    size = int(max(head.max(initial=0), owner.max(initial=0))) + 1
    is_whole = np.bincount(head, weights=length, minlength=size) == np.bincount(owner, weights=written, minlength=size)
    is_gap = (head[1:] == head[:-1]) & (offset[1:] != offset[:-1] + length[:-1])
    is_whole[head[1:][is_gap]] = False
    return np.asarray(is_whole)


def write_bios(joined: Joined, devices: list[int], since_ns: int) -> WriteBios:
    """Return the bios that write to these devices, queued after `since_ns`; not those of direct IO or below a loop."""
    ev, blocks, links = joined.window.events, joined.blocks, joined.links
    is_wanted = np.isin(blocks.bio_device, np.array(devices, dtype=np.int64)) & (links.bio_upper < 0)
    is_wanted &= np.isin(ev.flags[blocks.bio], (_OP_WRITE, OP_FLUSH)) & (ev.ts_ns[blocks.bio] > since_ns)
    submit = links.bio_submit
    if joined.frames.submit.size:
        is_wanted &= ~(_is_direct(joined)[submit] & (submit >= 0))
    if not is_wanted.any():
        none = np.empty(0, dtype=np.int64)
        return WriteBios(none, none, none, none, none)
    end = _ends(joined, since_ns)
    bio = np.flatnonzero(is_wanted & (end > blocks.bio_offset))
    return WriteBios(
        bio, blocks.bio_device[bio], blocks.bio_offset[bio], end[bio], picked(joined.submit_io, submit[bio])
    )


def _ends(joined: Joined, since_ns: int) -> Ints:
    """Return where each bio ends on its device, after the kernel has cut those that were too long for it.

    The event of a cut names the front's begin and the rest's; the rest may be cut again. What is cut from a bio that
    was queued by `since_ns` has no length: that bio was looked at whole.
    """
    ev, blocks = joined.window.events, joined.blocks
    end = blocks.bio_offset + blocks.bios.size
    split = np.flatnonzero(joined.window.is_at(blocks.bio, "bio_split"))
    if not split.size:
        return end
    at = blocks.bio[split]
    front = place_key(ev.space[at].astype(np.int64), ev.offset[at])
    parent = latest_before(at, front, blocks.bio, place_key(blocks.bio_device, blocks.bio_offset))
    split, parent = split[parent >= 0], parent[parent >= 0]
    whole = end.copy()
    for _ in range(_CUTS):
        before = whole[split].copy()
        whole[split] = whole[parent]
        if np.array_equal(before, whole[split]):
            break
    end[split] = whole[split]
    end[parent] = blocks.bio_offset[split]
    is_old = ev.ts_ns[blocks.bio] <= since_ns
    for _ in range(_CUTS if is_old.any() else 0):
        is_old[split] |= is_old[parent]
    return np.where(is_old, blocks.bio_offset, end)
