"""When threads did not run though they could: stretches of time by thread, from the kernel's switches and wakings.

A thread that was woken or preempted waits for a CPU until it is switched in; one that was switched out as stopped
(SIGSTOP, a debugger) is stopped until it is woken. What a contradiction shows to have been lost ends in nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled

SWITCH, WAKING, KICK, NOTIFY, MSI, INJECT = range(6)
PREEMPTED, WOKEN, STOPPED = range(3)
_SLOTS = 1 << 10
_BACK = 8  # stretches of a thread in which IOs in flight at once mostly are


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
    # mostly it is near: IOs in flight at once take turns
    for _ in range(_BACK):
        if place > low and on_ns[place - 1] > from_ns:
            place -= 1
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
