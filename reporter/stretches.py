"""Follow threads from switch to switch through a recording: in which stretches of time they did not run.

What is known of a thread at the end of a window goes on in the next: each move is looked at once.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled, order_by_number
from vio.reporter.runs import KICK, PREEMPTED, STOPPED, SWITCH, WAKING, WOKEN, Moves, Runs, codes_in

_STATES = 0xFF  # of a task: 0 is runnable; above is whether it was preempted
_STOPPED = 0x0C
_INTERRUPT = 0x18  # of an event's context: in an interrupt or a softirq
_UNKNOWN, _RUNNING, _ASLEEP, _READY, _WOKEN, _STOP = range(6)
_COLUMNS = 8
_OF, _KIND, _FROM, _TO, _WAKER, _KICK, _NEXT_KICK, _SLEPT = range(_COLUMNS)
_NONE = -1


class _Threads(NamedTuple):
    """The state of each thread, since when, who woke it last, since when it had slept, its latest WOKEN stretch.

    One that `is_early` was woken before it had gone to sleep: if it does go to sleep, it is ready at once.
    """

    state: Ints
    since_ns: Ints
    woken_by: Ints
    slept_ns: Ints
    latest: Ints
    is_early: Bools

    @classmethod
    def unknown(cls, count: int) -> "_Threads":
        """Return threads of which nothing has been seen yet."""
        none, zeroes = np.full(count, _NONE, np.int64), np.zeros(count, np.int64)
        state, is_early = np.full(count, _UNKNOWN, np.int64), np.zeros(count, np.bool_)
        return cls(state, zeroes, none, zeroes.copy(), none.copy(), is_early)


def _no_stretches(count: int = 0) -> Ints:
    return np.full((_COLUMNS, count), _NONE, np.int64)


@dataclass(slots=True)
class Follower:
    """Follows threads through windows of moves, in order of time; what is over is kept until it is forgotten.

    `_tids` are the threads, ascending; `_found` the stretches in order of their ends, in rows of _COLUMNS.
    """

    _tids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    _threads: _Threads = field(default_factory=lambda: _Threads.unknown(0))
    _found: Ints = field(default_factory=_no_stretches)

    def add(self, moves: Moves) -> None:
        """Go on with the moves after those so far."""
        self._meet(moves)
        thread, other = (codes_in(self._tids, tids) for tids in (moves.tid, moves.other))
        found = np.concatenate([self._found, _no_stretches(len(moves))], axis=1)  # a move ends one at most
        count = self._found.shape[1]
        columns = (moves.ts_ns, moves.kind, thread, other, moves.tid, moves.other, moves.flags)
        self._found = found[:, : _follow(*columns, self._threads, found, count)]

    def runs(self) -> Runs:
        """Return the stretches that are over, and have not been forgotten."""
        codes = codes_in(self._tids, self._found[_OF])
        found = self._found[:, order_by_number(codes, self._tids.size)]
        first = np.searchsorted(found[_OF], np.append(self._tids, np.iinfo(np.int64).max))
        kind, from_ns, to_ns, waker, kick_ns, next_kick_ns, slept_ns = found[1:]
        sums = _sums(first, kind, from_ns, to_ns)
        return Runs(self._tids, first, kind, from_ns, to_ns, waker, kick_ns, next_kick_ns, slept_ns, *sums)

    def forget(self, before_ns: int, most: int) -> int:
        """Forget the stretches that were over before a time, and the oldest if more than `most` are left.

        Returns up to when not all are known any more: not later than `before_ns`, if there were not too many.
        """
        to_ns = self._found[_TO]
        first = max(int(np.searchsorted(to_ns, before_ns)), to_ns.size - most, 0)
        known_ns = int(to_ns[first - 1]) if first else 0
        self._found = self._found[:, first:].copy()
        latest = self._threads.latest
        np.copyto(latest, np.where(latest < first, _NONE, latest - first))
        return known_ns

    def _meet(self, moves: Moves) -> None:
        """Make room for the threads that are new."""
        followed = np.concatenate([moves.tid[moves.kind == SWITCH], moves.other[moves.kind <= WAKING]])
        tids = np.union1d(self._tids, followed[followed > 0])
        threads = _Threads.unknown(tids.size)
        places = np.searchsorted(tids, self._tids)
        for new, old in zip(threads, self._threads, strict=True):
            new[places] = old
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
    here: _Threads,
    found: Ints,
    count: int,
) -> int:
    """Follow each thread from state to state; put stretches into `found`, and return how many there are then.

    A thread that is not known (-1) is of no interest.
    """
    for i in range(ts_ns.size):
        if kind[i] == KICK:
            if thread[i] >= 0 and here.latest[thread[i]] >= 0:
                at = here.latest[thread[i]]
                if found[_KICK, at] < 0:
                    found[_KICK, at] = ts_ns[i]
                elif found[_NEXT_KICK, at] < 0:
                    found[_NEXT_KICK, at] = ts_ns[i]
        elif kind[i] == WAKING:
            if other[i] >= 0:
                by = -1 if flags[i] & _INTERRUPT else tid[i]
                count = _wake(here, found, count, other[i], other_tid[i], ts_ns[i], by)
        elif kind[i] == SWITCH:
            if thread[i] >= 0:
                state = flags[i] & _STATES
                here.state[thread[i]] = _READY if state == 0 else _STOP if state & _STOPPED else _ASLEEP
                here.since_ns[thread[i]] = ts_ns[i]
            if other[i] >= 0:
                count = _run(here, found, count, other[i], other_tid[i], ts_ns[i])
    return count


@compiled
def _wake(here: _Threads, found: Ints, count: int, one: int, tid: int, ts_ns: int, by: int) -> int:
    """Wake a thread; return how many stretches there are now."""
    if here.state[one] == _READY or here.state[one] == _WOKEN:
        return count
    here.woken_by[one] = by
    if here.state[one] == _RUNNING:
        here.is_early[one] = True
        return count
    if here.state[one] == _STOP:
        found[_OF, count], found[_KIND, count] = tid, STOPPED
        found[_FROM, count], found[_TO, count] = here.since_ns[one], ts_ns
        count += 1
    # of one that is seen for the first time nobody knows how long it had slept
    here.slept_ns[one] = ts_ns if here.state[one] == _UNKNOWN else here.since_ns[one]
    here.state[one], here.since_ns[one] = _WOKEN, ts_ns
    return count


@compiled
def _run(here: _Threads, found: Ints, count: int, one: int, tid: int, ts_ns: int) -> int:
    """Let a thread run; return how many stretches there are now."""
    if here.state[one] == _ASLEEP and here.is_early[one]:
        here.state[one], here.slept_ns[one] = _WOKEN, here.since_ns[one]
    state = here.state[one]
    if state >= _READY:
        found[_OF, count] = tid
        found[_KIND, count] = PREEMPTED if state == _READY else WOKEN if state == _WOKEN else STOPPED
        found[_FROM, count], found[_TO, count] = here.since_ns[one], ts_ns
        if state == _WOKEN:
            found[_WAKER, count], found[_SLEPT, count] = here.woken_by[one], here.slept_ns[one]
            here.latest[one] = count
        count += 1
    here.state[one], here.is_early[one] = _RUNNING, False
    return count


@compiled
def _sums(first: Ints, kind: Ints, from_ns: Ints, to_ns: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the sums of waiting and of being stopped before each stretch of a thread, and the latest WOKEN one."""
    waited, stopped = np.zeros(kind.size, np.int64), np.zeros(kind.size, np.int64)
    woken = np.full(kind.size, -1, np.int64)
    for one in range(first.size - 1):
        ready_ns = stop_ns = 0
        latest = -1
        for i in range(first[one], first[one + 1]):
            waited[i], stopped[i] = ready_ns, stop_ns
            if kind[i] == STOPPED:
                stop_ns += to_ns[i] - from_ns[i]
            else:
                ready_ns += to_ns[i] - from_ns[i]
            if kind[i] == WOKEN:
                latest = i
            woken[i] = latest
    return waited, stopped, woken
