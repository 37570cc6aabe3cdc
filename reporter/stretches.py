"""Follow threads from switch to switch through a recording: in which stretches of time they did not run.

What is known of a thread at the end of a window goes on in the next: each move is looked at once.
"""

from dataclasses import dataclass, field

import numpy as np

from vio.reporter.compiled import Ints, compiled, order_by_number
from vio.reporter.moves import KICK, SWITCH, WAKING, Moves
from vio.reporter.runs import (
    FROM_NS,
    KICK_NS,
    KIND,
    LATEST_WOKEN,
    NEXT_KICK_NS,
    PREEMPTED,
    ROWS,
    SLEPT_NS,
    STOPPED,
    STOPPED_NS,
    TO_NS,
    WAITED_NS,
    WAKER,
    WOKEN,
    Runs,
    codes_in,
)

_STATES = 0xFF  # of a task: 0 is runnable; above is whether it was preempted
_STOPPED = 0x0C
_INTERRUPT = 0x18  # of an event's context: in an interrupt or a softirq
_UNKNOWN, _RUNNING, _ASLEEP, _READY, _WOKEN, _STOP = range(6)
_OF = SLEPT_NS + 1  # whose stretch it is; the rows before are those of Runs.table
_COLUMNS = _OF + 1
_NONE = -1


_STATE, _SINCE, _WOKEN_BY, _SLEPT_SINCE, _LATEST, _IS_EARLY = range(6)
"""Rows of a table of threads: the state of each, since when, who woke it last, since when it had slept, its latest
WOKEN stretch. One that _IS_EARLY was woken before it had gone to sleep: if it does go to sleep, it is ready at once."""


def _unknown(count: int) -> Ints:
    """Return a table of threads of which nothing has been seen yet."""
    threads = np.zeros((6, count), np.int64)
    threads[_STATE], threads[[_WOKEN_BY, _LATEST]] = _UNKNOWN, _NONE
    return threads


@dataclass(slots=True)
class Follower:
    """Follows threads through windows of moves, in order of time; what is over is kept until it is forgotten.

    `_tids` are the threads, ascending. The stretches, in order of their ends, are those from `_first` to before `_end`
    of `_room`, in rows of _COLUMNS.
    """

    _tids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    _threads: Ints = field(default_factory=lambda: _unknown(0))
    _room: Ints = field(default_factory=lambda: np.empty((_COLUMNS, 0), np.int64))
    _first: int = 0
    _end: int = 0

    def add(self, moves: Moves) -> None:
        """Go on with the moves after those so far."""
        self._meet(moves.threads)
        self._make_room(len(moves))  # a move ends one at most
        thread, other = (codes_in(self._tids, tids) for tids in (moves.tid, moves.other))
        columns = (moves.ts_ns, moves.kind, thread, other, moves.tid, moves.other, moves.flags)
        self._end = _follow(*columns, self._threads, self._room, self._end)

    def runs(self, since_ns: int = 0) -> Runs:
        """Return the stretches that have not been forgotten, and were over at a time or later."""
        kept = self._room[:, self._first : self._end]
        kept = kept[:, np.searchsorted(kept[TO_NS], since_ns) :]
        codes = codes_in(self._tids, kept[_OF])
        order = order_by_number(codes, self._tids.size)
        first = np.searchsorted(codes[order], np.arange(self._tids.size + 1))
        table = np.empty((ROWS, order.size), np.int64)
        for row in range(_OF):  # one by one: all at once takes three times as long
            table[row] = kept[row][order]
        add_up(first, table)
        return Runs(self._tids, first, table)

    def forget(self, before_ns: int, most: int) -> int:
        """Forget the stretches that were over before a time, and the oldest if more than `most` are left.

        Returns up to when not all are known any more: not later than `before_ns`, if there were not too many.
        """
        to_ns = self._room[TO_NS, self._first : self._end]
        gone = max(int(np.searchsorted(to_ns, before_ns)), to_ns.size - most, 0)
        self._first += gone
        latest = self._threads[_LATEST]
        latest[latest < self._first] = _NONE
        return int(to_ns[gone - 1]) if gone else 0

    def _make_room(self, more: int) -> None:
        """Have room for some more stretches; copying is seldom, as there is as much room again."""
        count = self._end - self._first
        if self._end + more <= self._room.shape[1]:
            return
        is_enough = count + more <= self._room.shape[1]
        room = self._room if is_enough else np.empty((_COLUMNS, (count + more) * 2), np.int64)
        room[:, :count] = self._room[:, self._first : self._end]
        latest = self._threads[_LATEST]
        latest[latest >= 0] -= self._first
        self._room, self._first, self._end = room, 0, count

    def _meet(self, seen: Ints) -> None:
        """Learn the threads that are new."""
        new = seen[codes_in(self._tids, seen) < 0]
        if not new.size:
            return
        tids = np.union1d(self._tids, new)
        threads = _unknown(tids.size)
        threads[:, np.searchsorted(tids, self._tids)] = self._threads
        self._tids, self._threads = tids, threads


@compiled
def _follow(
    ts_ns: Ints,
    kind: Ints,
    thread: Ints,
    other: Ints,
    tid: Ints,
    other_tid: Ints,
    flags: Ints,
    here: Ints,
    found: Ints,
    count: int,
) -> int:
    """Follow each thread from state to state; put stretches into `found`, and return how many there are then.

    A thread that is not known (-1) is of no interest.
    """
    for i in range(ts_ns.size):
        if kind[i] == KICK:
            if thread[i] >= 0 and here[_LATEST, thread[i]] >= 0:
                at = here[_LATEST, thread[i]]
                if found[KICK_NS, at] < 0:
                    found[KICK_NS, at] = ts_ns[i]
                elif found[NEXT_KICK_NS, at] < 0:
                    found[NEXT_KICK_NS, at] = ts_ns[i]
        elif kind[i] == WAKING:
            if other[i] >= 0:
                by = -1 if flags[i] & _INTERRUPT else tid[i]
                count = _wake(here, found, count, other[i], other_tid[i], ts_ns[i], by)
        elif kind[i] == SWITCH:
            if thread[i] >= 0:
                state = flags[i] & _STATES
                here[_STATE, thread[i]] = _READY if state == 0 else _STOP if state & _STOPPED else _ASLEEP
                here[_SINCE, thread[i]] = ts_ns[i]
            if other[i] >= 0:
                count = _run(here, found, count, other[i], other_tid[i], ts_ns[i])
    return count


@compiled
def _wake(here: Ints, found: Ints, count: int, one: int, tid: int, ts_ns: int, by: int) -> int:
    """Wake a thread; return how many stretches there are now."""
    if here[_STATE, one] == _READY or here[_STATE, one] == _WOKEN:
        return count
    here[_WOKEN_BY, one] = by
    if here[_STATE, one] == _RUNNING:
        here[_IS_EARLY, one] = 1
        return count
    if here[_STATE, one] == _STOP:
        count = _put(found, count, tid, STOPPED, here[_SINCE, one], ts_ns)
    # of one that is seen for the first time nobody knows how long it had slept
    here[_SLEPT_SINCE, one] = ts_ns if here[_STATE, one] == _UNKNOWN else here[_SINCE, one]
    here[_STATE, one], here[_SINCE, one] = _WOKEN, ts_ns
    return count


@compiled
def _run(here: Ints, found: Ints, count: int, one: int, tid: int, ts_ns: int) -> int:
    """Let a thread run; return how many stretches there are now."""
    if here[_STATE, one] == _ASLEEP and here[_IS_EARLY, one]:
        here[_STATE, one], here[_SLEPT_SINCE, one] = _WOKEN, here[_SINCE, one]
    state = here[_STATE, one]
    if state >= _READY:
        kind = PREEMPTED if state == _READY else WOKEN if state == _WOKEN else STOPPED
        count = _put(found, count, tid, kind, here[_SINCE, one], ts_ns)
        if state == _WOKEN:
            here[_LATEST, one] = count - 1
            found[WAKER, count - 1], found[SLEPT_NS, count - 1] = here[_WOKEN_BY, one], here[_SLEPT_SINCE, one]
    here[_STATE, one], here[_IS_EARLY, one] = _RUNNING, 0
    return count


@compiled
def _put(found: Ints, count: int, tid: int, kind: int, from_ns: int, to_ns: int) -> int:
    """Add a stretch; return how many there are now."""
    found[_OF, count], found[KIND, count], found[FROM_NS, count], found[TO_NS, count] = tid, kind, from_ns, to_ns
    for column in (WAKER, KICK_NS, NEXT_KICK_NS, SLEPT_NS):
        found[column, count] = _NONE
    return count + 1


@compiled
def add_up(first: Ints, table: Ints) -> None:
    """Fill in the sums of waiting and of being stopped before each stretch of a thread, and the latest WOKEN one."""
    for one in range(first.size - 1):
        ready_ns = stop_ns = 0
        latest = -1
        for i in range(first[one], first[one + 1]):
            table[WAITED_NS, i], table[STOPPED_NS, i] = ready_ns, stop_ns
            if table[KIND, i] == STOPPED:
                stop_ns += table[TO_NS, i] - table[FROM_NS, i]
            else:
                ready_ns += table[TO_NS, i] - table[FROM_NS, i]
            if table[KIND, i] == WOKEN:
                latest = i
            table[LATEST_WOKEN, i] = latest
