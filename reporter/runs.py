"""When threads did not run though they could: stretches of time by thread, from the kernel's switches and wakings.

A thread that was woken or preempted waits for a CPU until it is switched in; one that was switched out as stopped
(SIGSTOP, a debugger) is stopped until it is woken. What a contradiction shows to have been lost ends in nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled, order_by_number

SWITCH, WAKING, KICK, NOTIFY, MSI, INJECT = range(6)
PREEMPTED, WOKEN, STOPPED = range(3)

_STATES = 0xFF  # of a task: 0 is runnable; above is whether it was preempted
_STOPPED = 0x0C
_INTERRUPT = 0x18  # of an event's context: in an interrupt or a softirq
_UNKNOWN, _RUNNING, _ASLEEP, _READY, _WOKEN, _STOP = range(6)
_COLUMNS = 8
_OF, _KIND, _FROM, _TO, _WAKER, _KICK, _NEXT_KICK, _SLEPT = range(_COLUMNS)


class Runs(NamedTuple):
    """Stretches in which threads did not run, those of each thread together and in order of time.

    Those of `tids[i]` (ascending) are from `first[i]` to before `first[i + 1]`. `waker` is who woke it, -1 in an
    interrupt and for stretches that are not WOKEN. `kick_ns` and `next_kick_ns` are when it then first handled a
    virtqueue, and once more; `slept_ns` since when it had slept, or been stopped. `waited_ns` and `stopped_ns` are
    sums over the thread's stretches before, `woken` is the latest WOKEN one up to here, or -1.
    """

    tids: Ints
    first: Ints
    kind: Ints
    from_ns: Ints
    to_ns: Ints
    waker: Ints
    kick_ns: Ints
    next_kick_ns: Ints
    slept_ns: Ints
    waited_ns: Ints
    stopped_ns: Ints
    woken: Ints


@dataclass(frozen=True, slots=True)
class Moves:
    """What happened to threads, in order of time.

    SWITCH: from `tid` to `other` (0: of no interest), `flags` the state that `tid` is left in. WAKING: `tid` wakes
    `other`, `flags` the context. KICK: `tid` begins to handle a virtqueue. NOTIFY: `tid` tells the guest; MSI: it sends
    an interrupt; INJECT: a virtual CPU takes it; `other` is the vector.
    """

    ts_ns: Ints
    kind: Ints
    tid: Ints
    other: Ints
    flags: Ints

    def __len__(self) -> int:
        """Return the number of moves."""
        return int(self.ts_ns.size)

    def take(self, which: slice | Bools) -> "Moves":
        """Return the chosen ones."""
        return Moves(*(getattr(self, name)[which] for name in Moves.__slots__))

    @classmethod
    def joined(cls, parts: list["Moves"]) -> "Moves":
        """Return the moves of all parts, each of which follows the one before."""
        none = np.empty(0, np.int64)
        every = [cls(none, none, none, none, none), *parts]
        return cls(*(np.concatenate([getattr(one, name) for one in every]) for name in cls.__slots__))


def runs_of(moves: Moves) -> Runs:
    """Find the stretches in which the threads of some moves did not run."""
    is_switch = moves.kind == SWITCH
    followed = np.concatenate([moves.tid[is_switch], moves.other[moves.kind <= WAKING]])
    tids = np.unique(followed[followed > 0])
    tid, other = codes_in(tids, moves.tid), codes_in(tids, moves.other)
    every, count = _stretches(moves.ts_ns, moves.kind, tid, other, moves.tid, moves.flags, tids.size)
    order = order_by_number(every[_OF, :count], tids.size)
    found = every[:, order]
    first = np.searchsorted(found[_OF], np.arange(tids.size + 1))
    kind, from_ns, to_ns, waker, kick_ns, next_kick_ns, slept_ns = found[1:]
    sums = _sums(first, kind, from_ns, to_ns)
    return Runs(tids, first, kind, from_ns, to_ns, waker, kick_ns, next_kick_ns, slept_ns, *sums)


def codes_in(tids: Ints, values: Ints) -> Ints:
    """Return the place of each value in `tids` (ascending), -1 where it is not there."""
    if not tids.size:
        return np.full(values.size, -1, np.int64)
    place = np.minimum(np.searchsorted(tids, values), tids.size - 1)
    return np.where(tids[place] == values, place, -1)


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


@compiled
def _stretches(
    ts_ns: Ints, kind: Ints, thread: Ints, other: Ints, tid: Ints, flags: Ints, threads: int
) -> tuple[Ints, int]:
    """Follow each thread from state to state; return the stretches in order of their ends: rows of _COLUMNS, and count.

    A thread that is not known (-1) is of no interest.
    """
    found = np.full((_COLUMNS, ts_ns.size), -1, np.int64)  # a move ends one at most
    here = _Threads(
        np.zeros(threads, np.int64),
        np.zeros(threads, np.int64),
        np.full(threads, -1, np.int64),
        np.zeros(threads, np.int64),
        np.full(threads, -1, np.int64),
        np.zeros(threads, np.bool_),
    )
    count = 0
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
                count = _wake(here, found, count, other[i], ts_ns[i], -1 if flags[i] & _INTERRUPT else tid[i])
        elif kind[i] == SWITCH:
            if thread[i] >= 0:
                state = flags[i] & _STATES
                here.state[thread[i]] = _READY if state == 0 else _STOP if state & _STOPPED else _ASLEEP
                here.since_ns[thread[i]] = ts_ns[i]
            if other[i] >= 0:
                count = _run(here, found, count, other[i], ts_ns[i])
    return found, count


@compiled
def _wake(here: _Threads, found: Ints, count: int, one: int, ts_ns: int, by: int) -> int:
    """Wake a thread; return how many stretches there are now."""
    if here.state[one] == _READY or here.state[one] == _WOKEN:
        return count
    here.woken_by[one] = by
    if here.state[one] == _RUNNING:
        here.is_early[one] = True
        return count
    if here.state[one] == _STOP:
        found[_OF, count], found[_KIND, count] = one, STOPPED
        found[_FROM, count], found[_TO, count] = here.since_ns[one], ts_ns
        count += 1
    # of one that is seen for the first time nobody knows how long it had slept
    here.slept_ns[one] = ts_ns if here.state[one] == _UNKNOWN else here.since_ns[one]
    here.state[one], here.since_ns[one] = _WOKEN, ts_ns
    return count


@compiled
def _run(here: _Threads, found: Ints, count: int, one: int, ts_ns: int) -> int:
    """Let a thread run; return how many stretches there are now."""
    if here.state[one] == _ASLEEP and here.is_early[one]:
        here.state[one], here.slept_ns[one] = _WOKEN, here.since_ns[one]
    state = here.state[one]
    if state >= _READY:
        found[_OF, count] = one
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


@compiled
def latest_stretch(from_ns: Ints, low: int, high: int, time_ns: int) -> int:
    """Return the last of the stretches from `low` to before `high` that had begun at a time, -1 if none had."""
    after = first_later(from_ns, low, high, time_ns)
    return after - 1 if after > low else -1


@compiled
def off_cpu_ns(runs: Runs, code: int, time_ns: int) -> tuple[int, int]:
    """Return for how long a thread had waited for a CPU, and been stopped, until a time."""
    at = latest_stretch(runs.from_ns, runs.first[code], runs.first[code + 1], time_ns)
    if at < 0:
        return 0, 0
    here_ns = min(runs.to_ns[at], time_ns) - runs.from_ns[at]
    if runs.kind[at] == STOPPED:
        return runs.waited_ns[at], runs.stopped_ns[at] + here_ns
    return runs.waited_ns[at] + here_ns, runs.stopped_ns[at]


@compiled
def latest_waking(runs: Runs, code: int, time_ns: int) -> int:
    """Return the stretch from being woken to running that was a thread's last at a time, -1 if there was none."""
    at = latest_stretch(runs.from_ns, runs.first[code], runs.first[code + 1], time_ns)
    return runs.woken[at] if at >= 0 else -1


@compiled
def is_off(first: Ints, off_ns: Ints, on_ns: Ints, places: Ints, code: int, from_ns: int, to_ns: int) -> bool:
    """Tell whether a thread did not run at some time between two; `places` remembers where each was looked for last.

    `first`, `off_ns` and `on_ns` are those of Runs: the threads, and from when to when they did not run.
    """
    low, high = first[code], first[code + 1]
    place = places[code]
    # mostly it is where it was, or one further on
    for _ in range(2):
        if place < high and on_ns[place] <= from_ns:
            place += 1
    if (place > low and on_ns[place - 1] > from_ns) or (place < high and on_ns[place] <= from_ns):
        place = first_later(on_ns, low, high, from_ns)
    places[code] = place
    return bool(place < high and off_ns[place] < to_ns)


@compiled
def first_later(values: Ints, low: int, high: int, limit: int) -> int:
    """Return the first of the places from `low` to before `high` with a value above a limit, `high` if none has."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def waking_of_sleeper(runs: Runs, code: int, time_ns: int) -> int:
    """Return the stretch from being woken to running of a thread that slept at a time, -1 if it did not sleep."""
    end = runs.first[code + 1]
    at = first_later(runs.to_ns, runs.first[code], end, time_ns)
    while at < end and runs.kind[at] == STOPPED:
        at += 1
    return at if at < end and runs.kind[at] == WOKEN and runs.slept_ns[at] <= time_ns < runs.from_ns[at] else -1


@compiled
def code_of(tids: Ints, tid: int) -> int:
    """Return the place of a thread among ids in ascending order, -1 where it is not there."""
    low, high = 0, tids.size
    while low < high:
        middle = (low + high) // 2
        if tids[middle] < tid:
            low = middle + 1
        else:
            high = middle
    return low if low < tids.size and tids[low] == tid else -1
