"""Compiled loops over the spans of IOs: first begins and last ends, and the exact division of the time."""

import numpy as np

from vio.reporter.compiled import Bools, Bytes, Ints, compiled

_FAR = int(np.iinfo(np.int64).max)
_DOWN, _BETWEEN, _UP = range(3)
_FEW = 32  # so many are sorted by insertion


@compiled
def hulls(owner: Ints, stage: Ints, begin: Ints, end: Ints, events: int, number: Ints, first: Ints, last: Ints) -> None:
    """Count the spans of each stage and IO, and find the first begin and last end: three arrays (stages, IOs).

    `first` and `last` are given full of -1. An owner, stage, begin or end that cannot be raises IndexError.
    """
    for one in range(owner.size):
        if not (0 <= owner[one] < number.shape[1] and 0 <= stage[one] < number.shape[0]):
            raise IndexError("a span of no IO or stage")
        if not (0 <= begin[one] < events and end[one] < events):
            raise IndexError("a span of no event")
        at, io = stage[one], owner[one]
        number[at, io] += 1
        if first[at, io] < 0 or begin[one] < first[at, io]:
            first[at, io] = begin[one]
        last[at, io] = max(last[at, io], end[one])


@compiled
def divide_chains(
    which: Ints,
    number: Ints,
    first: Ints,
    last: Ints,
    ts_ns: Ints,
    begin: Ints,
    end: Ints,
    own: Ints,
    stamps: Ints,
    bits: Bytes,
    children: Ints,
    reached: Ints,
) -> Bools:
    """Do the chosen IOs with at most one span a stage, each within the one above, by subtraction; return which.

    For all of them: `stamps`, the spans but one, the deepest stage, and the bits of those that have a begin, an end,
    times. All that is written to is given zero.
    """
    simple = np.ones(which.size, np.bool_)
    for row in range(which.size):
        io = which[row]
        io_begin = ts_ns[begin[io]]
        life = ts_ns[end[io]] - io_begin if end[io] >= 0 else 0
        byte, bit = row >> 3, np.uint8(1 << (row & 7))
        spans = 0
        child_start, child_stop = _FAR, -1
        for stage in range(number.shape[0] - 1, -1, -1):
            if number[stage, io] == 0:
                continue
            if spans == 0:
                reached[row] = stage
            spans += number[stage, io]
            start, stop = ts_ns[first[stage, io]], -1
            stamps[0, stage, row] = start
            bits[0, stage, byte] |= bit
            if last[stage, io] >= 0:
                stop = ts_ns[last[stage, io]]
                stamps[1, stage, row] = stop
                bits[1, stage, byte] |= bit
            if end[io] >= 0:
                bits[2, stage, byte] |= bit
            if number[stage, io] > 1 or last[stage, io] < 0 or not simple[row]:
                simple[row] = False
                continue
            start = min(max(start - io_begin, 0), life)
            stop = min(max(stop - io_begin, start), life)
            if child_stop < 0:
                own[stage, _BETWEEN, row] = stop - start
            elif start <= child_start and stop >= child_stop:
                own[stage, _DOWN, row] = child_start - start
                own[stage, _UP, row] = stop - child_stop
            else:
                simple[row] = False
            child_start, child_stop = start, stop
        children[row] = spans - 1
    return simple


@compiled
def spans_of_some(
    owner: Ints, stage: Ints, begin: Ints, end: Ints, place: Ints, ts_ns: Ints, io_begin: Ints, life: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Take the spans of some IOs (`place` of each IO among them, or -1), IO by IO, in order; times since its begin.

    Returns where each IO's spans begin in the other three (one more than IOs), and their stages, starts and stops
    (-1: no end was seen).
    """
    first = np.zeros(life.size + 1, np.int64)
    for one in owner:
        if place[one] >= 0:
            first[place[one] + 1] += 1
    for i in range(life.size):
        first[i + 1] += first[i]
    stages, start, stop = np.empty(first[-1], np.int64), np.empty(first[-1], np.int64), np.empty(first[-1], np.int64)
    at = first[:-1].copy()
    for one in range(owner.size):
        io = place[owner[one]]
        if io < 0:
            continue
        to = at[io]
        at[io] += 1
        stages[to] = stage[one]
        start[to] = min(max(ts_ns[begin[one]] - io_begin[io], 0), life[io])
        stop[to] = ts_ns[end[one]] - io_begin[io] if end[one] >= 0 else -1
    return first, stages, start, stop


@compiled
def divide_spans(own: Ints, first: Ints, stage: Ints, start: Ints, stop: Ints, which: Ints, life: Ints) -> None:
    """Divide the time of some IOs among their spans.

    `which` are the IOs (places in `own`: stages, phases, IOs), `life[i]` is how long `which[i]` took, and its spans are
    those from `first[i]` to before `first[i + 1]`. `start` and `stop` are ns since the IO's begin, a `stop` below 0 was
    not seen.
    """
    stages = own.shape[0]
    has = np.zeros(stages, np.bool_)
    for i in range(which.size):
        io, low, high = which[i], first[i], first[i + 1]
        has[:] = False
        for one in range(low, high):
            has[stage[one]] = True
        end_with_parent(stage[low:high], start[low:high], stop[low:high], life[i], has)
        order = low + in_order(start[low:high])
        own[:, :, io] = 0
        whole_below = 0
        below_first, below_last = _FAR, -1
        for number in range(stages - 1, -1, -1):
            if not has[number]:  # it has no time, and adds none to what is below
                continue
            whole, down, up = covered(order, stage, start, stop, number, below_first, below_last)
            if below_last < 0:
                down = up = 0
            own[number, _DOWN, io] = down
            own[number, _BETWEEN, io] = whole - whole_below - down - up
            own[number, _UP, io] = up
            whole_below = whole
            for one in order:
                if stage[one] == number:
                    below_first = min(below_first, start[one])
                    below_last = max(below_last, stop[one])


@compiled
def in_order(values: Ints) -> Ints:
    """Return the stable order of values, of which there are mostly few."""
    if values.size > _FEW:
        return np.argsort(values, kind="mergesort")
    order = np.empty(values.size, np.int64)
    for i in range(values.size):
        at = i
        while at > 0 and values[order[at - 1]] > values[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    return order


@compiled
def end_with_parent(stage: Ints, start: Ints, stop: Ints, life: int, has: Bools) -> None:
    """End a span whose end was not seen with the stage above it (of those there are): it cannot have lasted longer."""
    limit = life
    for number in range(has.size):
        if not has[number]:
            continue
        latest = -1
        for one in range(stage.size):
            if stage[one] == number:
                if stop[one] < 0:
                    stop[one] = max(limit, start[one])
                latest = max(latest, stop[one])
        limit = latest
    for one in range(stage.size):
        stop[one] = min(max(stop[one], start[one]), life)


@compiled
def covered(
    order: Ints, stage: Ints, start: Ints, stop: Ints, number: int, below_first: int, below_last: int
) -> tuple[int, int, int]:
    """Return how long any span from stage `number` down runs: in all, before `below_first`, after `below_last`."""
    reach = reach_down = reach_up = 0
    whole = down = up = 0
    for one in order:
        if stage[one] < number:
            continue
        whole += max(stop[one] - max(start[one], reach), 0)
        reach = max(reach, stop[one])
        before = min(stop[one], below_first)
        down += max(before - max(start[one], reach_down), 0)
        reach_down = max(reach_down, before)
        after = max(start[one], below_last)
        up += max(stop[one] - max(after, reach_up), 0)
        reach_up = max(reach_up, stop[one])
    return whole, down, up
