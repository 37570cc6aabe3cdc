"""The host's block layer: bios, the requests that carry them, and their way through the device.

Addresses are device and byte. A bio joins its request by address: the request that begins with it, or, when the bio was
merged, the request that the bio before it in address went into (which is what merging means to the kernel).
"""

from dataclasses import dataclass

import numpy as np

from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, Keys, first_after, latest_before, pair, picked
from vio.reporter.sectors import OP_FLUSH, flush_or_place, in_parts, place_key

_MERGES = 1024  # more bios than one request can take
_FLUSH_PLACE = np.uint64((1 << 43) - 1)  # a flush request has no address


@dataclass(frozen=True, slots=True)
class Blocks:
    """Bios and requests as event indices.

    `request` is the position in `issue` of the request of each bio, or -1. `complete` and `insert` are the events of
    each request, or -1.
    """

    bio: Ints
    bio_device: Ints
    bio_offset: Ints
    request: Ints
    is_ambiguous: Bools
    issue: Ints
    insert: Ints
    complete: Ints


def read_blocks(window: Window) -> Blocks:
    """Find the bios and requests in a window, and link them."""
    ev = window.events
    bio = window.at("bio_queue", "bio_split")
    device = ev.space[bio].astype(np.int64)
    offset = ev.offset[bio]
    split = np.flatnonzero(window.is_at(bio, "bio_split"))
    offset[split] = ev.key[bio[split]].astype(np.int64) * 512
    device, offset = _remapped(window, bio, device, offset)
    issue = _without_requeued(window, window.at("rq_issue"))
    place = _place(window, issue)
    complete = _completions(window, issue, place)
    insert_at = window.at("rq_insert")
    inserted = latest_before(issue, place, insert_at, _place(window, insert_at))
    insert = picked(insert_at, inserted)
    request, ambiguous = _requests_of(window, bio, device, offset, issue, place)
    return Blocks(bio, device, offset, request, ambiguous, issue, insert, complete)


def _place(window: Window, at: Ints) -> Keys:
    ev = window.events
    return flush_or_place(ev.space, ev.offset, ev.flags, ev.bytes, at)


def _remapped(window: Window, bio: Ints, device: Ints, offset: Ints) -> tuple[Ints, Ints]:
    """Follow a bio that was remapped after it was queued (a partition to its disk): the event has both addresses."""
    ev = window.events
    remap = window.at("bio_remap")
    if not remap.size:
        return device, offset
    old = place_key(ev.bytes[remap], ev.key[remap].astype(np.int64) * 512)
    found = latest_before(remap, old, bio, place_key(device, offset))
    hit = np.flatnonzero(found >= 0)
    hit = hit[ev.tid[remap[hit]] == ev.tid[bio[found[hit]]]]
    device, offset = device.copy(), offset.copy()
    device[found[hit]] = ev.space[remap[hit]].astype(np.int64)
    offset[found[hit]] = ev.offset[remap[hit]]
    return device, offset


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


def _requests_of(window: Window, bio: Ints, device: Ints, offset: Ints, issue: Ints, place: Keys) -> tuple[Ints, Bools]:
    ev = window.events
    flushes = np.flatnonzero(_is_flush(window, bio))
    flushes = flushes[ev.key[bio[flushes]] == 0]
    key = place_key(device, offset)
    request = np.full(bio.size, NONE, dtype=np.int64)
    ambiguous = np.zeros(bio.size, dtype=np.bool_)
    data = np.delete(np.arange(bio.size), flushes)
    pairs = pair(bio[data], key[data], issue, place)
    request[data] = pairs.end
    if not issue.size:
        return request, ambiguous
    ambiguous[data] = pairs.is_ambiguous
    _follow_merges(window, bio, device, offset, request, issue)
    request[flushes] = first_after(bio[flushes], key[flushes] | _FLUSH_PLACE, issue, place)
    return request, ambiguous


def _follow_merges(window: Window, bio: Ints, device: Ints, offset: Ints, request: Ints, issue: Ints) -> None:
    """Give a merged bio the request of the bio that ends where it begins.

    That one was queued before it (a back merge), or after it and took the place in front (a front merge).
    """
    ev = window.events
    merged = np.flatnonzero(request < 0)
    merged = merged[~_is_flush(window, bio[merged])]
    if not merged.size or not issue.size:
        return
    begin, end = place_key(device, offset), place_key(device, offset + ev.bytes[bio])
    neighbour = _nearer(
        window,
        bio,
        merged,
        latest_before(bio[merged], begin[merged], bio, end),
        first_after(bio[merged], begin[merged], bio, end),
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
