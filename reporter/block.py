"""The host's block layer: bios, the requests that carry them, and their way through the device.

Addresses are device and byte. A bio joins its request by address: the request that begins with it, or, when the bio was
merged, the request that the bio before it in address went into (which is what merging means to the kernel). A bio of a
mapped device has none of its own: those that were made from it have (vio.reporter.stack).
"""

from dataclasses import dataclass

import numpy as np

from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, Keys, first_after, latest_before, pair, picked
from vio.reporter.sectors import OP_FLUSH, flush_or_place, in_parts, place_key
from vio.reporter.stack import Below, Bios, read_bios

COMMANDS = ("nvme_command", "scsi_command", "virtio_command")
"""The points at which drivers make commands of requests."""
_MERGES = 1024  # more bios than one request can take
_FLUSH_PLACE = np.uint64((1 << 43) - 1)  # a flush request has no address


@dataclass(frozen=True, slots=True)
class Blocks:
    """Bios and requests as event indices.

    `request` is the position in `issue` of the request of each bio, or -1; only those that are `is_lowest` have one.
    `complete` and `insert` are the events of each request, or -1; `below` the position of the request that a mapped
    device's request became (multipath), or its own.
    """

    bios: Bios
    is_lowest: Bools
    request: Ints
    is_ambiguous: Bools
    issue: Ints
    insert: Ints
    complete: Ints
    below: Ints

    @property
    def bio(self) -> Ints:
        """The events of the bios."""
        return self.bios.event

    @property
    def bio_device(self) -> Ints:
        """The device of each bio; the disk, for one on a partition."""
        return self.bios.device

    @property
    def bio_offset(self) -> Ints:
        """The address of each bio there, in bytes."""
        return self.bios.offset

    def ends(self) -> tuple[Ints, Ints]:
        """Return for each bio the event that ended it, and the latest end of those made from it; -1: none."""
        return self.bios.ends(picked(self.complete, self.request))


def read_blocks(window: Window, below: Below | None = None) -> Blocks:
    """Find the bios and requests in a window, and link them."""
    bios = read_bios(window, below or Below())
    issue = _without_requeued(window, window.at("rq_issue"))
    place = _place(window, issue)
    complete = _completions(window, issue, place)
    insert_at = window.at("rq_insert")
    inserted = latest_before(issue, place, insert_at, _place(window, insert_at))
    insert = picked(insert_at, inserted)
    is_lowest = bios.is_lowest
    request, ambiguous = _requests_of(window, bios, is_lowest, issue, place)
    return Blocks(bios, is_lowest, request, ambiguous, issue, insert, complete, _below(window, issue, place))


def _place(window: Window, at: Ints) -> Keys:
    ev = window.events
    return flush_or_place(ev.space, ev.offset, ev.flags, ev.bytes, at)


def _below(window: Window, issue: Ints, place: Keys) -> Ints:
    """Follow the requests of mapped devices (multipath) to those of the devices below: the event has both addresses."""
    ev = window.events
    found = np.arange(issue.size)
    remap = window.at("rq_remap")
    if not remap.size or not issue.size:
        return found
    old = place_key(ev.bytes[remap], ev.key[remap].astype(np.int64) * 512)
    new = place_key(ev.space[remap].astype(np.int64), ev.offset[remap])
    # a flush has no address, whatever stands there
    is_flush = _is_flush_remap(window, remap, issue)
    old, new = (np.where(is_flush, keys | _FLUSH_PLACE, keys) for keys in (old, new))
    upper, lower = latest_before(remap, old, issue, place), first_after(remap, new, issue, place)
    both = np.flatnonzero((upper >= 0) & (lower >= 0))
    found[upper[both]] = lower[both]
    for _ in range(4):
        found = found[found]
    return found


def _is_flush_remap(window: Window, remap: Ints, issue: Ints) -> Bools:
    """Tell which remaps are of flushes: the request issued last on the thread is the mapped device's own."""
    tid = window.events.tid
    last = latest_before(remap, tid[remap].astype(np.uint64), issue, tid[issue].astype(np.uint64))
    return np.asarray(_is_flush(window, picked(issue, last)) & (last >= 0))


def _without_requeued(window: Window, issue: Ints) -> Ints:
    """Drop the issues that ended in a requeue: the request is issued again."""
    requeue = window.at("rq_requeue")
    if not requeue.size:
        return issue
    found = latest_before(requeue, _place(window, requeue), issue, _place(window, issue))
    return np.delete(issue, found[found >= 0])


def _completions(window: Window, issue: Ints, place: Keys) -> Ints:
    """Return the last completion of each request; a device may complete one in parts, one after the other."""
    ev = window.events
    complete = window.at("rq_complete")
    done_place = _place(window, complete)
    pairs = pair(issue, place, complete, done_place)
    found = picked(complete, pairs.end)
    for _ in range(64):
        rest = in_parts(issue, found, ev.offset, ev.bytes)
        if not rest.size:
            break
        rest = rest[np.argsort(found[rest], kind="stable")]
        at = found[rest]
        key = place_key(ev.space[at].astype(np.int64), ev.offset[at] + ev.bytes[at])
        following = first_after(at, key, complete, done_place)
        if not (following >= 0).any():
            break
        found[rest] = np.where(following >= 0, complete[following], found[rest])
    return found


def _requests_of(window: Window, bios: Bios, is_lowest: Bools, issue: Ints, place: Keys) -> tuple[Ints, Bools]:
    bio = bios.event
    is_flush = _is_flush(window, bio) & ~window.is_at(bio, "bio_split")
    key = place_key(bios.device, bios.offset)
    request = np.full(bio.size, NONE, dtype=np.int64)
    data = np.flatnonzero(~is_flush & is_lowest)
    pairs = pair(bio[data], key[data], issue, place)
    request[data] = pairs.end
    ambiguous = np.zeros(bio.size, dtype=np.bool_)
    if not issue.size:
        return request, ambiguous
    ambiguous[data] = pairs.is_ambiguous
    _follow_merges(window, bios, data, request, issue)
    flushes = np.flatnonzero(is_flush & is_lowest)
    request[flushes] = first_after(bio[flushes], key[flushes] | _FLUSH_PLACE, issue, place)
    return request, ambiguous


def _follow_merges(window: Window, bios: Bios, data: Ints, request: Ints, issue: Ints) -> None:
    """Give a merged bio the request of the bio that ends where it begins; `data` are those that go into requests.

    That one was queued before it (a back merge), or after it and took the place in front (a front merge).
    """
    ev, bio, offset = window.events, bios.event, bios.offset
    merged = data[request[data] < 0]
    if not merged.size or not issue.size:
        return
    begin, end = place_key(bios.device, offset), place_key(bios.device, offset + bios.size)[data]
    neighbour = _nearer(
        window,
        bio,
        merged,
        picked(data, latest_before(bio[merged], begin[merged], bio[data], end)),
        picked(data, first_after(bio[merged], begin[merged], bio[data], end)),
    )
    for _ in range(_MERGES):
        waiting = np.flatnonzero(request[merged] < 0)
        inherit = np.where(neighbour[waiting] >= 0, request[neighbour[waiting]], NONE)
        place, at = offset[merged[waiting]], issue[inherit]
        covers = (ev.offset[at] <= place) & (place < ev.offset[at] + ev.bytes[at])
        usable = (inherit >= 0) & covers & (at > bio[merged[waiting]])
        if not usable.any():
            break
        request[merged[waiting[usable]]] = inherit[usable]


def _nearer(window: Window, bio: Ints, merged: Ints, before: Ints, after: Ints) -> Ints:
    """Choose for each merged bio the neighbour that was queued nearer in time: the other is of another round."""
    ts_ns = window.events.ts_ns
    far = np.iinfo(np.int64).max
    own = ts_ns[bio[merged]]
    since = np.where(before >= 0, own - ts_ns[bio[before]], far)
    until = np.where(after >= 0, ts_ns[bio[after]] - own, far)
    return np.where(since <= until, before, after)


def _is_flush(window: Window, at: Ints) -> Bools:
    ev = window.events
    is_flush = ev.flags[at] == OP_FLUSH
    is_flush[is_flush] = ev.bytes[at[is_flush]] == 0
    return np.asarray(is_flush)
