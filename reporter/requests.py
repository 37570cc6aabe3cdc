"""Guest requests of virtio-blk: taken from the queue, entered into the block layer, merged, pushed back, notified.

A request is one pointer (VirtIOBlockReq *) in all of its records; QEMU reuses it for a later request once it is pushed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.match import NONE, Bools, Ints, Keys, codes_of, first_after, latest_before, pair, stable_order

_SETTLE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Requests:
    """Guest requests, in the order of their begin; event indices, -1 where there is none.

    `enter` is the request's own entry into the block layer (a merged follower has none), `head` the position in this
    table of the request that carries it (itself, unless merged). What is not `is_settled` may yet find a notification,
    or one that was merged with it.
    """

    begin: Ints
    enter: Ints
    push: Ints
    notify: Ints
    head: Ints
    is_head_unknown: Bools
    is_settled: Bools


def read_requests(window: Window) -> Requests:
    """Find the guest requests in a window."""
    ev = window.events
    accept, enter, push = window.at("accept"), window.at("aio_get"), window.at("push")
    begin, begin_enter, begin_push = _match_life(ev.key, accept, enter, push)
    order = np.argsort(begin, kind="stable")
    begin, begin_enter, begin_push = begin[order], begin_enter[order], begin_push[order]
    head = _heads(window, begin_push, push)
    is_unknown = (begin_enter < 0) & (head == np.arange(begin.size))
    notify = _notifications(window, begin_push)
    is_settled = _settled(window, begin_push, notify, head)
    return Requests(begin, begin_enter, begin_push, notify, head, is_unknown, is_settled)


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


class RootLinker:
    """Link requests to the block layer's root calls; remembers where this QEMU keeps the qiov in its request."""

    def __init__(self) -> None:
        self._qiov_distance: int | None = None

    def link(self, window: Window, requests: Requests, frames: Frames, is_root: Bools) -> tuple[Ints, Bools]:
        """Return for each root call (position in `frames.call`) its request or -1, and whether it was by identity."""
        ev = window.events
        roots = np.flatnonzero(is_root)
        owner = np.full(frames.call.size, NONE, dtype=np.int64)
        heads = np.flatnonzero(requests.enter >= 0)
        heads = heads[np.argsort(requests.enter[heads], kind="stable")]
        enter = requests.enter[heads]
        by_qiov = roots[ev.key[frames.call[roots]] != 0]
        by_qiov = by_qiov[ev.point[frames.call[by_qiov]] != _number(window, "bdrv_discard")]
        self._learn(ev.key[enter], enter, frames.call[by_qiov], ev.key[frames.call[by_qiov]], ev.tid)
        if self._qiov_distance is not None and enter.size:
            keys = ev.key[enter] + np.uint64(self._qiov_distance)
            pairs = pair(enter, keys, frames.call[by_qiov], ev.key[frames.call[by_qiov]])
            found = pairs.end >= 0
            owner[by_qiov[pairs.end[found]]] = heads[found]
        is_identity = owner >= 0
        self._link_rest(window, requests, frames, roots, owner, heads, enter)
        return owner, is_identity

    def _learn(self, request: Keys, enter: Ints, call: Ints, qiov: Keys, tid: npt.NDArray[np.int32]) -> None:
        if self._qiov_distance is not None or not call.size:
            return
        before = latest_before(call, tid[call].astype(np.uint64), enter, tid[enter].astype(np.uint64))
        gap = (qiov - request[before])[before >= 0].astype(np.int64)
        gap = gap[(gap > 0) & (gap < 4096)]
        if gap.size:
            self._qiov_distance = int(np.argmax(np.bincount(gap)))

    def _link_rest(
        self, window: Window, requests: Requests, frames: Frames, roots: Ints, owner: Ints, heads: Ints, enter: Ints
    ) -> None:
        """Calls without a qiov (flush, discard, write zeroes): in order on the thread, like with like.

        blk_aio_* starts the coroutine on the spot, or queues it behind the running one, so order is kept.
        """
        ev = window.events
        is_used = np.zeros(requests.begin.size, dtype=np.bool_)
        is_used[owner[owner >= 0]] = True
        free = np.flatnonzero(~is_used[heads])
        rest = roots[owner[roots] < 0]
        if not free.size or not rest.size:
            return
        call = frames.call[rest]
        found = latest_before(
            call,
            _thread_and_call(ev.tid[call], ev.point[call].astype(np.int64)),
            enter[free],
            _thread_and_call(ev.tid[enter[free]], _expected_call(window, requests, heads[free])),
        )
        # Of several calls after one entry the first is the request's own.
        first = np.full(free.size, NONE, dtype=np.int64)
        positions = np.flatnonzero(found >= 0)[::-1]
        first[found[positions]] = positions
        has = first >= 0
        owner[rest[first[has]]] = heads[free[has]]


def _thread_and_call(tid: npt.NDArray[np.int32], point: Ints) -> Keys:
    return (tid.astype(np.uint64) << np.uint64(16)) | (point + 1).astype(np.uint64)


def _expected_call(window: Window, requests: Requests, which: Ints) -> Ints:
    """Return the point of the root call that each request makes, from its BlockAcctType; -1 if unknown."""
    calls = np.array([_number(window, name) for name in ("bdrv_discard", "bdrv_read", "bdrv_write", "bdrv_flush")])
    kind = accounted_type(window, requests)[which]
    return np.where(kind <= 3, calls[np.minimum(kind, 3)], calls[0])


def _number(window: Window, name: str) -> int:
    at = window.at(name)
    return int(window.events.point[at[0]]) if at.size else NONE


def accounted_type(window: Window, requests: Requests) -> Ints:
    """Return the BlockAcctType of each request; 0 where QEMU does not account it (a discard)."""
    is_accept = window.is_at(requests.begin, "accept")
    return np.where(is_accept, window.events.flags[requests.begin], 0).astype(np.int64)
