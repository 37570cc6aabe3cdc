"""Compiled: of the time of each IO, what its threads waited for a CPU, were stopped, or were still to be woken.

From each edge of an IO's spans to the next, the IO waits for the thread that passes the second one. What that thread
was kept from running meanwhile is charged to the stage that owns this time, unless it is a device's. That thread may be
one of the kernel's own, which carries the IO on: where the block layer's work is handed to another. While that thread
slept, the one that had passed the first edge had still to wake it: then it is what that one was kept from running.
So it is always a part of a stage's own time.
"""

from typing import NamedTuple

import numpy as np

from vio.layer import Stage
from vio.reporter.compiled import Ints, compiled
from vio.reporter.runs import (
    FROM_NS,
    TO_NS,
    WAKER,
    Runs,
    code_of,
    codes_in,
    first_ending,
    off_cpu_ns,
    waking_of_sleeper,
)

RUNQUEUE, STOP, WAKEUP = range(3)

_STAGES = len(Stage)
_AIO, _VFS, _FS, _BLOCK, _DEVICE, _LOOP_DEVICE = (
    tuple(Stage).index(stage)
    for stage in (Stage.QEMU_AIO, Stage.VFS, Stage.FS, Stage.BLOCK, Stage.DEVICE, Stage.LOOP_DEVICE)
)
_NONE = -1


class Lives(NamedTuple):
    """IOs and their spans, as event indices: the spans of IO i are `order[first[i]:first[i + 1]]`."""

    io_begin: Ints
    io_end: Ints
    first: Ints
    order: Ints
    stage: Ints
    begin: Ints
    end: Ints


@compiled
def charge(found: Ints, rows: Ints, lives: Lives, ts_ns: Ints, tid: Ints, runs: Runs, workers: Ints) -> None:
    """Add up in `found` (waits, stages, rows), which is given full of 0, the waits of the IOs in `rows`.

    `workers` are the kernel's own threads, in ascending order.
    """
    active = np.zeros(_STAGES, np.int64)
    room = 2 * int(np.max(np.diff(lives.first))) if lives.first.size > 1 else 0
    event, step = np.empty(room, np.int64), np.empty(room, np.int64)
    places = runs.first.copy()
    codes, kernels = codes_in(runs.tids, tid), codes_in(workers, tid)
    # taken out of their tuples once: that costs more than the search
    tids, first, table = runs.tids, runs.first, runs.table
    io_begin, io_end, spans, of = lives.io_begin, lives.io_end, lives.order, lives.first
    stage, begin, end = lives.stage, lives.begin, lives.end
    for row in range(rows.size):
        io = rows[row]
        if io_end[io] < 0:
            continue
        count = edges_of(spans, of[io], of[io + 1], stage, begin, end, io_begin[io], io_end[io], event, step)
        active[:] = 0
        before = deepest_end = _NONE
        for i in range(count):
            at = event[i]
            if at != before:
                owner = deepest(active)
                # in the block layer others than QEMU's threads work too: whom an interrupt met there is nobody
                is_ours = 0 <= owner < _BLOCK or (owner >= _BLOCK and (tid[at] == tid[before] or kernels[at] >= 0))
                # a device works whoever runs; but a loop device's worker goes down to the file and up from it
                if owner in (_DEVICE, _LOOP_DEVICE):
                    is_ours = is_ours and (deepest_end > owner or begins_below(owner, i, count, event, step))
                if is_ours:
                    code = codes[at]
                    off = first_ending(first, table, places, code, ts_ns[before]) if code >= 0 else 0
                    if code >= 0 and off < first[code + 1] and table[FROM_NS, off] < ts_ns[at]:
                        # as many words as it takes: to make a tuple of them counts the references to each array
                        add_between(
                            found, row, owner, deepest_end, before, at, ts_ns, tid,
                            off, codes, places, tids, first, table, workers,
                        )  # fmt: skip
                before, deepest_end = at, _NONE
            if step[i] < 0:
                deepest_end = max(deepest_end, -step[i] - 1)
                active[-step[i] - 1] -= 1
            else:
                active[step[i] - 1] += 1


@compiled
def add_between(
    found: Ints,
    row: int,
    owner: int,
    ended: int,
    before: int,
    at: int,
    ts_ns: Ints,
    tid: Ints,
    off: int,
    codes: Ints,
    places: Ints,
    tids: Ints,
    first: Ints,
    table: Ints,
    workers: Ints,
) -> None:
    """Charge the time from one event of an IO to the next; `ended` is the deepest stage that ended at the first.

    `off` is the first stretch between in which the thread of the second did not run. `codes` are the threads of the
    events among `tids`, `places` where each was looked for last.
    """
    from_ns, to_ns, code = ts_ns[before], ts_ns[at], codes[at]
    ready, stopped = off_cpu_ns(first, table, code, from_ns, to_ns, off)
    found[RUNQUEUE, owner, row] += ready
    found[STOP, owner, row] += stopped
    is_other = tid[before] != tid[at]
    woke = waking_of_sleeper(first, table, code, from_ns, off)
    if woke < 0:
        return
    if _AIO <= owner <= _FS and (ended > owner or is_other):
        found[WAKEUP, owner, row] += min(table[TO_NS, woke], to_ns) - from_ns
    waker, woken_ns = table[WAKER, woke], min(table[FROM_NS, woke], to_ns)
    # a worker back from its system call has still to hand over, though another may have woken the thread; and one of
    # the kernel's own may have come between
    is_given = waker == tid[before] or ended == _VFS
    is_of_kernel = code_of(workers, waker) >= 0
    giver = code_of(tids, waker) if is_of_kernel and not is_given else codes[before]
    if is_other and giver >= 0 and (is_given or is_of_kernel):
        off = first_ending(first, table, places, giver, from_ns)
        given, _ = off_cpu_ns(first, table, giver, from_ns, woken_ns, off)
        # who could run may wait while the other is stopped: each instant counts once
        found[RUNQUEUE, owner, row] += max(min(given, woken_ns - from_ns - stopped), 0)


@compiled
def edges_of(
    spans: Ints,
    low: int,
    high: int,
    stage: Ints,
    begin: Ints,
    end: Ints,
    io_begin: int,
    io_end: int,
    event: Ints,
    step: Ints,
) -> int:
    """Find the edges of an IO's spans in order: events, and the stage + 1 that begins, or negative, that ends.

    Its spans are those from `low` to before `high`.
    """
    count = 0
    for number in range(low, high):
        one = spans[number]
        start = min(max(begin[one], io_begin), io_end)
        # one without an end seen is over with the IO
        stop = max(min(end[one], io_end), start) if end[one] >= 0 else io_end
        for is_end in range(2):
            at = stop if is_end else start
            place = count
            while place > 0 and event[place - 1] > at:
                event[place], step[place] = event[place - 1], step[place - 1]
                place -= 1
            event[place] = at
            step[place] = -stage[one] - 1 if is_end else stage[one] + 1
            count += 1
    return count


@compiled
def begins_below(owner: int, edge: int, count: int, event: Ints, step: Ints) -> bool:
    """Tell whether, of the edges at the event of one, any begins a stage that is deeper than another."""
    at = event[edge]
    while edge < count and event[edge] == at:
        if step[edge] - 1 > owner:
            return True
        edge += 1
    return False


@compiled
def deepest(active: Ints) -> int:
    """Return the deepest stage that is at work, -1 if none is."""
    for number in range(active.size - 1, -1, -1):
        if active[number] > 0:
            return number
    return _NONE
