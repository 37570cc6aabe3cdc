"""When threads did not run though they could: stretches of time by thread, from the kernel's switches and wakings.

A thread that was woken or preempted waits for a CPU until it is switched in; one that was switched out as stopped
(SIGSTOP, a debugger) is stopped until it is woken. What a contradiction shows to have been lost ends in nothing.
"""

from typing import NamedTuple

import numpy as np

from vio.reporter.compiled import Ints, compiled

PREEMPTED, WOKEN, STOPPED = range(3)
ROWS = 10
KIND, FROM_NS, TO_NS, WAKER, KICK_NS, NEXT_KICK_NS, SLEPT_NS, WAITED_NS, STOPPED_NS, LATEST_WOKEN = range(ROWS)
_SLOTS = 1 << 10


class Runs(NamedTuple):
    """Stretches in which threads did not run, those of each thread together and in order of time.

    Those of `tids[i]` (ascending) are the columns of `table` from `first[i]` to before `first[i + 1]`. Its rows: KIND;
    FROM_NS and TO_NS; the WAKER, -1 in an interrupt and for stretches that are not WOKEN; KICK_NS and NEXT_KICK_NS,
    when the thread then first handled a virtqueue, and once more; SLEPT_NS, since when it had slept, or been stopped;
    WAITED_NS and STOPPED_NS, sums over the thread's stretches before; LATEST_WOKEN, the latest WOKEN one up to here,
    or -1.

    One table, for a compiled function that is handed a tuple counts the references to each array in it.
    """

    tids: Ints
    first: Ints
    table: Ints


@compiled
def off_cpu_ns(first: Ints, table: Ints, code: int, from_ns: int, to_ns: int, place: int) -> tuple[int, int]:
    """Return for how long a thread waited for a CPU, and was stopped, from one time to another.

    `first` and `table` are those of Runs, here and below. `place` is the thread's first stretch that ends later than
    the first of the times; so has `first_ending`.
    """
    high = first[code + 1]
    if place >= high or table[FROM_NS, place] >= to_ns:
        return 0, 0
    last = first_later(table, FROM_NS, place, high, to_ns, place) - 1
    waited, stopped = (
        table[WAITED_NS, last] - table[WAITED_NS, place],
        table[STOPPED_NS, last] - table[STOPPED_NS, place],
    )
    before_ns = max(from_ns - table[FROM_NS, place], 0)
    here_ns = min(table[TO_NS, last], to_ns) - table[FROM_NS, last]
    if table[KIND, place] == STOPPED:
        stopped -= before_ns
    else:
        waited -= before_ns
    if table[KIND, last] == STOPPED:
        stopped += here_ns
    else:
        waited += here_ns
    return waited, stopped


@compiled
def first_ending(first: Ints, table: Ints, places: Ints, code: int, time_ns: int) -> int:
    """Return a thread's first stretch that ends later than a time; `places` has where each was looked for last."""
    place = first_later(table, TO_NS, first[code], first[code + 1], time_ns, places[code])
    places[code] = place
    return place


@compiled
def latest_waking(first: Ints, table: Ints, code: int, time_ns: int) -> int:
    """Return the stretch from being woken to running that was a thread's last at a time, -1 if there was none."""
    low = first[code]
    at = first_later(table, FROM_NS, low, first[code + 1], time_ns, low) - 1
    return table[LATEST_WOKEN, at] if at >= low else -1


@compiled
def first_later(table: Ints, row: int, low: int, high: int, limit: int, near: int) -> int:
    """Return the first of the places from `low` to before `high` with a value above a limit, `high` if none has.

    It is looked for from `near` on, in steps that double: IOs in flight at once take turns, so it is not far.
    """
    near = min(max(near, low), high)
    step = 1
    if near < high and table[row, near] <= limit:
        low = near + 1
        while low + step <= high and table[row, low + step - 1] <= limit:
            low += step
            step *= 2
        high = min(low + step - 1, high)
    else:
        high = near
        while high - step >= low and table[row, high - step] > limit:
            high -= step
            step *= 2
        low = max(high - step + 1, low)
    while low < high:
        middle = (low + high) // 2
        if table[row, middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def waking_of_sleeper(first: Ints, table: Ints, code: int, time_ns: int, place: int) -> int:
    """Return the stretch from being woken to running of a thread that slept at a time, -1 if it did not sleep.

    `place` is the thread's first stretch that ends later.
    """
    end = first[code + 1]
    while place < end and table[KIND, place] == STOPPED:
        place += 1
    if place == end or table[KIND, place] != WOKEN:
        return -1
    return place if table[SLEPT_NS, place] <= time_ns < table[FROM_NS, place] else -1


@compiled
def code_of(tids: Ints, tid: int) -> int:
    """Return the place of a thread among ids in ascending order, -1 where it is not there."""
    low, high, found = 0, tids.size, -1
    while low < high:
        middle = (low + high) // 2
        if tids[middle] == tid:
            found = middle
        if tids[middle] < tid:
            low = middle + 1
        else:
            high = middle
    return found


@compiled
def unseen() -> Ints:
    """Return for each slot what cannot be in it: a value has its slot by its last bits."""
    seen = np.empty(_SLOTS, np.int64)
    for slot in range(_SLOTS):
        seen[slot] = ~slot
    return seen


@compiled
def codes_in(tids: Ints, values: Ints) -> Ints:
    """Return the place of each value in `tids` (ascending), -1 where it is not there.

    Threads come again and again: each is mostly found where it was put when it was looked for last.
    """
    seen, code = unseen(), np.empty(_SLOTS, np.int64)
    found = np.empty(values.size, np.int64)
    for i in range(values.size):
        slot = values[i] & (_SLOTS - 1)
        if seen[slot] != values[i]:
            seen[slot], code[slot] = values[i], code_of(tids, values[i])
        found[i] = code[slot]
    return found


@compiled
def distinct(values: Ints) -> Ints:
    """Return the different ones among values, ascending; they are few, and come again and again."""
    seen = unseen()
    found = np.empty(values.size, np.int64)
    count = 0
    for value in values:
        if seen[value & (_SLOTS - 1)] != value:
            seen[value & (_SLOTS - 1)] = value
            found[count] = value
            count += 1
    return np.unique(found[:count])
