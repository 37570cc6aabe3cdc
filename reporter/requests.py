"""Guest requests of virtio-blk and virtio-scsi: taken from the queue, into the block layer, merged, pushed, notified.

A request is one pointer (VirtIOBlockReq *, VirtIOSCSIReq *) in its records; QEMU reuses it for a later one once it is
pushed. What is particular to SCSI is in vio.reporter.scsi.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.lives import find_heads, find_notifications, find_settled, match_lives
from vio.reporter.match import NONE, Bools, Ints, Keys, latest_before, pair, picked
from vio.reporter.scsi import DISCARD, READ, WRITE, BlockSizes, Entries, ScsiCalls, is_io, read_calls_of_scsi, read_cdb

_SETTLE_NS = 1_000_000_000
TAKEN = ("accept", "scsi_new")
"""The points at which a request is taken from a queue."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Guest requests, in the order of their begin; event indices, -1 where there is none.

    `entries` are their calls into the block layer (a merged follower has none, a SCSI command may have several), and
    `enter` is the first. `head` is the position in this table of the request that carries it (itself, unless merged).
    `kind` is the BlockAcctType, `offset` and `bytes` are what the guest asked for. What is not `is_settled` may yet
    find a notification, or one that was merged with it. `account` are SCSI's accounting events, `accounted` of whom.
    """

    begin: Ints
    enter: Ints
    push: Ints
    notify: Ints
    head: Ints
    is_settled: Bools
    is_scsi: Bools
    kind: Ints
    offset: Ints
    bytes: Ints
    entries: Entries
    account: Ints
    accounted: Ints


class RequestReader:
    """Finds the guest requests in windows; remembers the block sizes of SCSI devices."""

    def __init__(self) -> None:
        self._sizes = BlockSizes()

    def read(self, window: Window) -> Requests:
        """Return the guest requests in a window."""
        ev = window.events
        accept, enter, push = window.at(*TAKEN), window.at("aio_get"), window.at("push")
        begin, begin_enter, begin_push, enter_life, push_life = match_lives(
            ev.key, accept, _are_ios(window, accept), enter, push
        )
        notify = find_notifications(push, push_life, window.at("notify", "notify_main"), ev.space, ev.key, begin.size)
        head = find_heads(push, push_life, ev.tid, ev.key, ev.offset, begin.size)
        is_settled = _settled(window, push, push_life, notify, head)
        is_scsi = window.is_at(begin, "scsi_new")
        is_accept = window.is_at(begin, "accept")
        # QEMU does not account virtio-blk's discards: they begin with their entry.
        kind = np.where(is_accept, ev.flags[begin], 0).astype(np.int64)
        offset, length = ev.offset[begin].copy(), ev.bytes[begin].copy()
        calls = _calls_of_scsi(window, begin, begin_push, begin_enter, is_scsi, enter)
        self._read_commands(window, begin, calls, kind, offset, length, is_scsi)
        entries = _all_entries(enter, enter_life, kind, calls.entries)
        first = calls.entries.request[::-1]
        begin_enter[first] = calls.entries.event[::-1]
        return Requests(
            begin=begin,
            enter=begin_enter,
            push=begin_push,
            notify=notify,
            head=head,
            is_settled=is_settled,
            is_scsi=is_scsi,
            kind=kind,
            offset=offset,
            bytes=length,
            entries=entries,
            account=calls.account,
            accounted=calls.accounted,
        )

    def _read_commands(
        self, window: Window, begin: Ints, calls: ScsiCalls, kind: Ints, offset: Ints, length: Ints, is_scsi: Bools
    ) -> None:
        """Fill in what SCSI commands ask for."""
        ev, which = window.events, np.flatnonzero(is_scsi)
        if not which.size:
            return
        at = begin[which]
        command = read_cdb(ev.flags[at], ev.offset[at], ev.bytes[at])
        payload = np.zeros(begin.size, dtype=np.int64)
        is_data = np.isin(ev.flags[calls.account], (READ, WRITE))
        np.maximum.at(payload, calls.accounted[is_data], ev.bytes[calls.account[is_data]])
        size = self._sizes.of(ev.space[at], command.count, payload[which])
        kind[which] = command.kind
        offset[which] = command.block * size
        length[which] = np.where(payload[which] > 0, payload[which], command.count * size)


def _are_ios(window: Window, begin: Ints) -> Bools:
    """Tell which requests are IO: virtio-blk's all are."""
    ev = window.events
    are_ios = np.ones(begin.size, dtype=np.bool_)
    if not window.at("scsi_new").size:
        return are_ios
    scsi = np.flatnonzero(window.is_at(begin, "scsi_new"))
    at = begin[scsi]
    are_ios[scsi] = is_io(read_cdb(ev.flags[at], ev.offset[at], ev.bytes[at]))
    return are_ios


def _calls_of_scsi(
    window: Window, begin: Ints, push: Ints, begin_enter: Ints, is_scsi: Bools, enter: Ints
) -> ScsiCalls:
    which = np.flatnonzero(is_scsi)
    others = np.setdiff1d(enter, begin_enter) if which.size else enter[:0]
    found = read_calls_of_scsi(window, begin[which], push[which], others)
    entries = found.entries
    if not which.size:
        return found
    own = Entries(entries.event, which[entries.request], entries.kind)
    return ScsiCalls(own, found.account, which[found.accounted])


def _all_entries(enter: Ints, enter_life: Ints, kind: Ints, scsi: Entries) -> Entries:
    """Return the calls of all requests, in order."""
    plain = np.flatnonzero(enter_life >= 0)
    event, request = enter[plain], enter_life[plain]
    expected = np.where(kind[request] == 0, DISCARD, kind[request])
    if not scsi.event.size:
        return Entries(event, request, expected)
    event = np.concatenate([event, scsi.event])
    order = np.argsort(event, kind="stable")
    return Entries(
        event[order],
        np.concatenate([request, scsi.request])[order],
        np.concatenate([expected, scsi.kind])[order],
    )


def _settled(window: Window, push: Ints, push_life: Ints, notify: Ints, head: Ints) -> Bools:
    """Tell which requests, with all that were merged with them, have all of their ends in this window.

    Every push is followed by a notification, and one with an mr_next by the push of that; not for ever, though.
    """
    ev = window.events
    if not push.size:
        return np.ones(head.size, dtype=np.bool_)
    young = int(np.searchsorted(ev.ts_ns, ev.ts_ns[-1] - _SETTLE_NS, side="right"))
    expected = notify if window.observes("notify", "notify_main") else notify[:0]
    return find_settled(push, push_life, ev.tid, ev.offset, expected, head, young)


@dataclass(frozen=True, slots=True)
class Roots:
    """For each root call (position in `frames.call`) its request or -1, and the entry that it came by, an event."""

    owner: Ints
    enter: Ints


class RootLinker:
    """Link requests to the block layer's root calls; remembers where this QEMU keeps the qiov, for each device model.

    virtio-blk's lies in the request. SCSI's lies in the DMA helper's structure, which is what the call was made for.
    """

    def __init__(self) -> None:
        self._qiov_distance: dict[bool, int] = {}

    def link(self, window: Window, requests: Requests, frames: Frames, is_root: Bools) -> Roots:
        """Return the request and the entry of each root call."""
        ev = window.events
        roots = np.flatnonzero(is_root)
        entry_of = np.full(frames.call.size, NONE, dtype=np.int64)
        enter = requests.entries.event
        free = roots[~window.is_at(frames.call[roots], "bdrv_discard")]
        free = free[ev.key[frames.call[free]] != 0]
        is_scsi = requests.is_scsi[requests.entries.request]
        for model in (False, True):
            mine = np.flatnonzero(is_scsi == model)
            if not mine.size:
                continue
            at, call, key = enter[mine], frames.call[free], ev.key[enter[mine]]
            qiov = ev.key[call]
            self._learn(model, key, at, call, qiov, ev.tid)
            if model not in self._qiov_distance:
                continue
            pairs = pair(at, key + np.uint64(self._qiov_distance[model]), call, qiov)
            found = pairs.end >= 0
            entry_of[free[pairs.end[found]]] = mine[found]
            free = free[entry_of[free] < 0]
        self._link_rest(window, requests, frames, roots, entry_of)
        return Roots(picked(requests.entries.request, entry_of), picked(enter, entry_of))

    def _learn(
        self, model: bool, request: Keys, enter: Ints, call: Ints, qiov: Keys, tid: npt.NDArray[np.int32]
    ) -> None:
        if model in self._qiov_distance or not call.size:
            return
        before = latest_before(call, tid[call].astype(np.uint64), enter, tid[enter].astype(np.uint64))
        gap = (qiov - request[before])[before >= 0].astype(np.int64) if enter.size else call[:0]
        gap = gap[(gap > 0) & (gap < 4096)]
        if gap.size:
            self._qiov_distance[model] = int(np.argmax(np.bincount(gap)))

    def _link_rest(self, window: Window, requests: Requests, frames: Frames, roots: Ints, entry_of: Ints) -> None:
        """Calls without a qiov (flush, discard, write zeroes): by their order on the thread, like with like.

        blk_aio_* starts the coroutine on the spot; but within another coroutine it queues it, to run when that one is
        done, and before what was queued by those that woke that one. So entries and calls nest like brackets.
        """
        ev, entries = window.events, requests.entries
        is_used = np.zeros(entries.event.size, dtype=np.bool_)
        is_used[entry_of[entry_of >= 0]] = True
        free = np.flatnonzero(~is_used)
        rest = roots[entry_of[roots] < 0]
        expected = _expected_call(window, entries.kind)
        while free.size and rest.size:
            call, enter = frames.call[rest], entries.event[free]
            found = latest_before(
                call,
                _thread_and_call(ev.tid[call], ev.point[call].astype(np.int64)),
                enter,
                _thread_and_call(ev.tid[enter], expected[free]),
            )
            has = np.flatnonzero(found >= 0)
            # Of several calls after one entry the first is the request's own, if that is still under way.
            entry, first = np.unique(found[has], return_index=True)
            own = has[first]
            push = requests.push[entries.request[free[entry]]]
            is_alive = (push < 0) | (push > call[own])
            entry_of[rest[own[is_alive]]] = free[entry[is_alive]]
            if not entry.size:
                break
            free, rest = np.delete(free, entry), np.delete(rest, own[is_alive])


def _thread_and_call(tid: npt.NDArray[np.int32], point: Ints) -> Keys:
    return (tid.astype(np.uint64) << np.uint64(16)) | (point + 1).astype(np.uint64)


def _expected_call(window: Window, kind: Ints) -> Ints:
    """Return the point of the root call that a request of each BlockAcctType makes; -1 if there is none here."""
    calls = np.array([_number(window, name) for name in ("bdrv_discard", "bdrv_read", "bdrv_write", "bdrv_flush")])
    return np.where(kind <= 3, calls[np.minimum(kind, 3)], calls[0])


def _number(window: Window, name: str) -> int:
    at = window.at(name)
    return int(window.events.point[at[0]]) if at.size else NONE
