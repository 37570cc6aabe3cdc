"""Waits for a file's locks: they come before the file system's own first event, and are its time all the same.

A thread that waits for an rw semaphore (contention_begin) inside a call that carries IO waits for the inode's lock,
which another holds. All IOs that the call carries wait with it, but for those that the file system has begun already.
"""

from dataclasses import dataclass

import numpy as np

from vio.reporter.carriers import Carriers, SystemCalls
from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, first_after, latest_before, pair, picked

_READ = 2  # flags of lock_wait


@dataclass(frozen=True, slots=True)
class LockWaits:
    """Waits of hand-overs (`submit`) for a lock, as event indices; one wait may be of several hand-overs."""

    submit: Ints
    begin: Ints
    end: Ints


def find_lock_waits(window: Window, carriers: Carriers, calls: SystemCalls) -> LockWaits:
    """Find who waits for locks in a window."""
    begin, end = _waits(window)
    if not begin.size:
        return LockWaits(begin, begin, end)
    tid = window.events.tid
    around = latest_before(begin, tid[begin].astype(np.uint64), calls.begin, tid[calls.begin].astype(np.uint64))
    is_inside = (around >= 0) & ((picked(calls.end, around) < 0) | (picked(calls.end, around) > begin))
    is_file = ~_is_of_memory(window, calls, begin, is_inside)
    begin, end, around, is_inside = begin[is_file], end[is_file], around[is_file], is_inside[is_file]
    by_call = _of_calls(carriers, calls.begin[around[is_inside]], begin[is_inside], end[is_inside])
    alone = np.flatnonzero(~is_inside)
    by_work = _of_next_work(window, carriers, calls, begin[alone], end[alone])
    return LockWaits(*(np.concatenate(both) for both in zip(by_call, by_work, strict=True)))


def _waits(window: Window) -> tuple[Ints, Ints]:
    """Return the begins and ends of waits; a thread waits for one lock at a time."""
    ev = window.events
    begin, end = window.at("lock_wait"), window.at("lock_wait_end")
    pairs = pair(begin, ev.tid[begin].astype(np.uint64), end, ev.tid[end].astype(np.uint64))
    return begin, picked(end, pairs.end)


def _is_of_memory(window: Window, calls: SystemCalls, begin: Ints, is_inside: Bools) -> Bools:
    """Tell the waits for a lock that threads without IO wait for too, to read: page faults and the address space's."""
    ev = window.events
    elsewhere = begin[~is_inside & (ev.flags[begin] == _READ)]
    elsewhere = elsewhere[~np.isin(ev.tid[elsewhere], ev.tid[calls.begin])]
    return np.isin(ev.key[begin], ev.key[elsewhere])


def keep_waits(window: Window, keep: Bools, calls: SystemCalls) -> None:
    """Mark the waits that the next window needs: whose end, or the file system's work behind them, is yet to come."""
    ev = window.events
    begin, end = _waits(window)
    open_calls = calls.begin[calls.end < 0]
    around = latest_before(begin, ev.tid[begin].astype(np.uint64), open_calls, ev.tid[open_calls].astype(np.uint64))
    needed = (around >= 0) | (end < 0)
    keep[begin[needed]] = True
    keep[end[needed]] = True


def _of_calls(carriers: Carriers, call: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints, Ints]:
    """Give each wait to the hand-overs that its call carries and that the file system has not begun."""
    submits = np.flatnonzero(carriers.carrier >= 0)
    submits = submits[np.argsort(carriers.carrier[submits], kind="stable")]
    carrier = carriers.carrier[submits]
    low, high = np.searchsorted(carrier, call), np.searchsorted(carrier, call, side="right")
    wait = np.repeat(np.arange(call.size), high - low)
    place = np.arange(wait.size) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[wait]
    submit = submits[place]
    waits = (first_work(carriers)[submit] > begin[wait]) | (first_work(carriers)[submit] < 0)
    return submit[waits], begin[wait[waits]], end[wait[waits]]


def first_work(carriers: Carriers) -> Ints:
    """Return the file system's first work (event) for each hand-over, -1 where there is none."""
    first = np.full(carriers.carrier.size, NONE, dtype=np.int64)
    owned = np.flatnonzero(carriers.work_submit >= 0)[::-1]
    first[carriers.work_submit[owned]] = carriers.work[owned]
    return first


def _of_next_work(
    window: Window, carriers: Carriers, calls: SystemCalls, begin: Ints, end: Ints
) -> tuple[Ints, Ints, Ints]:
    """Give waits of threads that are in no system call (io_uring's workers) to the next work there."""
    tid = window.events.tid
    ended = np.flatnonzero(end >= 0)
    ended = ended[np.argsort(end[ended], kind="stable")]
    begin, end = begin[ended], end[ended]
    following = first_after(end, tid[end].astype(np.uint64), carriers.work, tid[carriers.work].astype(np.uint64))
    work, submit = picked(carriers.work, following), picked(carriers.work_submit, following)
    later_call = first_after(end, tid[end].astype(np.uint64), calls.begin, tid[calls.begin].astype(np.uint64))
    call = picked(calls.begin, later_call)
    carrier = picked(carriers.carrier, submit)
    is_own = (submit >= 0) & ((call < 0) | (call > work)) & (carrier >= 0) & (carrier < begin)
    return submit[is_own], begin[is_own], end[is_own]
