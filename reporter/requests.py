"""Guest requests of virtio-blk and virtio-scsi: taken from the queue, into the block layer, merged, pushed, notified.

A request is one pointer (VirtIOBlockReq *, VirtIOSCSIReq *) in its records; QEMU reuses it for a later one once it is
pushed. What is particular to SCSI is in vio.reporter.scsi.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.match import NONE, Bools, Ints, Keys, codes_of, first_after, latest_before, pair, stable_order
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
        begin, begin_enter, begin_push = _match_life(ev.key, accept, enter, push)
        order = np.argsort(begin, kind="stable")
        order = order[_are_ios(window, begin[order])]
        begin, begin_enter, begin_push = begin[order], begin_enter[order], begin_push[order]
        is_scsi = window.is_at(begin, "scsi_new")
        head = _heads(window, begin_push, push)
        notify = _notifications(window, begin_push)
        is_settled = _settled(window, begin_push, notify, head)
        is_accept = window.is_at(begin, "accept")
        # QEMU does not account virtio-blk's discards: they begin with their entry.
        kind = np.where(is_accept, ev.flags[begin], 0).astype(np.int64)
        offset, length = ev.offset[begin].copy(), ev.bytes[begin].copy()
        calls = _calls_of_scsi(window, begin, begin_push, begin_enter, is_scsi, enter)
        self._read_commands(window, begin, calls, kind, offset, length, is_scsi)
        entries = _all_entries(begin_enter, kind, calls.entries)
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


def _all_entries(begin_enter: Ints, kind: Ints, scsi: Entries) -> Entries:
    """Return the calls of all requests, in order."""
    plain = np.flatnonzero(begin_enter >= 0)
    event = np.concatenate([begin_enter[plain], scsi.event])
    order = np.argsort(event, kind="stable")
    expected = np.where(kind[plain] == 0, DISCARD, kind[plain])
    return Entries(
        event[order],
        np.concatenate([plain, scsi.request])[order],
        np.concatenate([expected, scsi.kind])[order],
    )


def _settled(window: Window, push: Ints, notify: Ints, head: Ints) -> Bools:
    """Tell which requests, with all that were merged with them, have all of their ends in this window.

    Every push is followed by a notification, and one with an mr_next by the push of that; not for ever, though.
    """
    ev = window.events
    is_settled = np.ones(push.size, dtype=np.bool_)
    young = np.flatnonzero(push >= 0)
    young = young[ev.ts_ns[push[young]] > ev.ts_ns[-1] - _SETTLE_NS] if young.size else young
    if not young.size:
        return is_settled
    latest_first = young[np.argsort(push[young], kind="stable")[::-1]]
    _, first = np.unique(ev.tid[push[latest_first]], return_index=True)
    newest = latest_first[first]
    is_open = np.zeros(push.size, dtype=np.bool_)
    is_open[newest] = ev.offset[push[newest]] != 0
    if window.observes("notify", "notify_main"):
        is_open[young] |= notify[young] < 0
    return ~np.isin(head, head[is_open])


def _match_life(key: Keys, accept: Ints, enter: Ints, push: Ints) -> tuple[Ints, Ints, Ints]:
    """Return begin, enter and push events of each request.

    In the records of one pointer, a life is accept, enter, push; a merged follower's is accept, push; a discard, which
    QEMU does not account, is enter, push. An entry of which neither is known is another caller's.
    """
    index = np.concatenate([accept, enter, push])
    kind = np.repeat(np.array([0, 1, 2], dtype=np.int8), [accept.size, enter.size, push.size])
    in_time = np.argsort(index, kind="stable")
    index, kind = index[in_time], kind[in_time]
    codes = codes_of(key[index])
    order = stable_order(codes)
    index, kind, codes = index[order], kind[order], codes[order]
    same = np.append(codes[:-1] == codes[1:], False)
    next_kind = np.where(same, np.append(kind[1:], NONE), NONE)
    next_index = np.append(index[1:], NONE)
    after = np.where(same, np.append(next_kind[1:], NONE), NONE)
    after_index = np.append(next_index[1:], NONE)

    is_accept = kind == 0
    entered = is_accept & (next_kind == 1)
    follows_accept = np.append(False, (is_accept & same)[:-1])
    alone = (kind == 1) & ~follows_accept & (next_kind == 2)
    enter_of = np.where(entered, next_index, NONE)
    push_of = np.where(entered, np.where(after == 2, after_index, NONE), np.where(next_kind == 2, next_index, NONE))
    enter_of = np.where(alone, index, enter_of)
    is_life = is_accept | alone
    return index[is_life], enter_of[is_life], push_of[is_life]


def _heads(window: Window, request_push: Ints, push: Ints) -> Ints:
    """Follow mr_next: a push whose request is the mr_next of the push before it on its thread belongs to its chain."""
    ev = window.events
    head = np.arange(request_push.size)
    if push.size < 2:
        return head
    by_thread = push[stable_order(codes_of(ev.tid[push].astype(np.uint64)))]
    before, here = by_thread[:-1], by_thread[1:]
    next_key = ev.offset[before].astype(np.uint64)
    chained = (ev.tid[before] == ev.tid[here]) & (next_key == ev.key[here]) & (next_key != 0)
    first = np.maximum.accumulate(np.where(np.append(False, chained), NONE, np.arange(by_thread.size)))
    head_push = np.full(len(ev), NONE, dtype=np.int64)
    head_push[by_thread] = by_thread[first]
    request_of = np.full(len(ev), NONE, dtype=np.int64)
    has_push = request_push >= 0
    request_of[request_push[has_push]] = np.flatnonzero(has_push)
    found = np.where(has_push, request_of[head_push[request_push]], NONE)
    return np.where(found >= 0, found, head)


def _notifications(window: Window, push: Ints) -> Ints:
    """Return the first notification of the same queue after each push."""
    ev = window.events
    notify = window.at("notify", "notify_main")
    low = (ev.key[notify] & np.uint64(0xFFFFFFFF)).astype(np.uint64)
    result = np.full(push.size, NONE, dtype=np.int64)
    has = np.flatnonzero(push >= 0)
    in_time = has[np.argsort(push[has], kind="stable")]
    found = first_after(push[in_time], ev.space[push[in_time]].astype(np.uint64), notify, low)
    result[in_time] = np.where(found >= 0, notify[found], NONE) if notify.size else NONE
    return result


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
        by_qiov = roots[ev.key[frames.call[roots]] != 0]
        by_qiov = by_qiov[ev.point[frames.call[by_qiov]] != _number(window, "bdrv_discard")]
        is_scsi = requests.is_scsi[requests.entries.request]
        for model in (False, True):
            mine = np.flatnonzero(is_scsi == model)
            free = by_qiov[entry_of[by_qiov] < 0]
            self._learn(model, ev.key[enter[mine]], enter[mine], frames.call[free], ev.key[frames.call[free]], ev.tid)
            if model not in self._qiov_distance or not mine.size:
                continue
            keys = ev.key[enter[mine]] + np.uint64(self._qiov_distance[model])
            pairs = pair(enter[mine], keys, frames.call[free], ev.key[frames.call[free]])
            found = pairs.end >= 0
            entry_of[free[pairs.end[found]]] = mine[found]
        self._link_rest(window, requests, frames, roots, entry_of)
        has = entry_of >= 0
        owner, came_by = np.full(entry_of.size, NONE), np.full(entry_of.size, NONE)
        owner[has], came_by[has] = requests.entries.request[entry_of[has]], enter[entry_of[has]]
        return Roots(owner, came_by)

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
