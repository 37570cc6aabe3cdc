"""Compiled loops over the spans of IOs: first begins and last ends, and the exact division of the time."""

import numpy as np

from vio.reporter.compiled import Bytes, Ints, compiled

_FAR = int(np.iinfo(np.int64).max)
_DOWN, _BETWEEN, _UP = range(3)
_START, _STOP = range(2)
_FEW = 32  # so many are sorted by insertion


@compiled
def by_io_and_stage(
    owner: Ints, stage: Ints, begin: Ints, end: Ints, ts_ns: Ints, ios: int, stages: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Order spans by IO, then by stage; return where each begins (`io * stages + stage`, and one more), and both times.

    And the order itself. An end that was not seen is at -1 ns. An owner, stage, begin or end that cannot be raises
    IndexError.
    """
    place = np.zeros(ios * stages + 2, np.int64)
    for one in range(owner.size):
        if not (0 <= owner[one] < ios and 0 <= stage[one] < stages):
            raise IndexError("a span of no IO or stage")
        if not (0 <= begin[one] < ts_ns.size and end[one] < ts_ns.size):
            raise IndexError("a span of no event")
        place[owner[one] * stages + stage[one] + 2] += 1
    for number in range(2, place.size):
        place[number] += place[number - 1]
    begins, ends, order = np.empty(owner.size, np.int64), np.empty(owner.size, np.int64), np.empty(owner.size, np.int64)
    for one in range(owner.size):
        at = owner[one] * stages + stage[one] + 1
        # Here, where spans of a stage are in order of time, and not when they are divided: the times are near then.
        begins[place[at]] = ts_ns[begin[one]]
        ends[place[at]] = ts_ns[end[one]] if end[one] >= 0 else -1
        order[place[at]] = one
        place[at] += 1
    return place[:-1], begins, ends, order


@compiled
def divide(
    which: Ints,
    place: Ints,
    begins: Ints,
    ends: Ints,
    ts_ns: Ints,
    begin: Ints,
    end: Ints,
    own: Ints,
    stamps: Ints,
    bits: Bytes,
    children: Ints,
    reached: Ints,
) -> None:
    """Divide the time of the chosen IOs among their spans, which are as `by_io_and_stage` has them.

    `stamps` are the first begins and last ends, `children` the spans but one, `reached` the deepest stage, `bits` are
    of those that have a begin, an end, times. All that is written to is given zero.
    """
    stages = own.shape[0]
    times, union = np.empty((2, begins.size), np.int64), np.empty((2, 2, begins.size), np.int64)
    for row in range(which.size):
        io = which[row]
        io_begin = ts_ns[begin[io]]
        life = ts_ns[end[io]] - io_begin if end[io] >= 0 else 0
        byte, bit = row >> 3, np.uint8(1 << (row & 7))
        children[row] = place[io * stages + stages] - place[io * stages] - 1
        is_chain, child_start, child_stop = True, _FAR, -1
        for stage in range(stages - 1, -1, -1):
            low, high = place[io * stages + stage], place[io * stages + stage + 1]
            if low == high:
                continue
            reached[row] = max(reached[row], stage)
            first, last = begins[low], ends[low]
            for one in range(low + 1, high):
                first, last = min(first, begins[one]), max(last, ends[one])
            stamps[0, stage, row] = first
            bits[0, stage, byte] |= bit
            if last >= 0:
                stamps[1, stage, row] = last
                bits[1, stage, byte] |= bit
            if end[io] >= 0:
                bits[2, stage, byte] |= bit
            if high - low > 1 or last < 0 or not is_chain:  # where each is within the one above, a difference is enough
                is_chain = False
                continue
            start = min(max(first - io_begin, 0), life)
            stop = min(max(last - io_begin, start), life)
            if child_stop < 0:
                own[stage, _BETWEEN, row] = stop - start
            elif start <= child_start and stop >= child_stop:
                own[stage, _DOWN, row], own[stage, _UP, row] = child_start - start, stop - child_stop
            else:
                is_chain = False
            child_start, child_stop = start, stop
        if not is_chain:
            bound(place, io * stages, stages, begins, ends, io_begin, life, times)
            divide_one(own, row, place, io * stages, times, union)


@compiled
def bound(
    place: Ints, first: int, stages: int, begins: Ints, ends: Ints, io_begin: int, life: int, times: Ints
) -> None:
    """Put the starts and stops of one IO's spans into `times`, in ns since its begin, within its life.

    A span whose end was not seen ends with the stage above it (of those there are): it cannot have lasted longer.
    """
    base, is_open = place[first], False
    for one in range(base, place[first + stages]):
        stop = ends[one] - io_begin if ends[one] >= 0 else -1
        is_open |= stop < 0
        times[_START, one - base] = min(max(begins[one] - io_begin, 0), life)
        times[_STOP, one - base] = stop
    limit = life
    for stage in range(first, first + stages if is_open else first):
        latest = -1
        for one in range(place[stage] - base, place[stage + 1] - base):
            if times[_STOP, one] < 0:
                times[_STOP, one] = max(limit, times[_START, one])
            latest = max(latest, times[_STOP, one])
        if latest >= 0:
            limit = latest
    for one in range(place[first + stages] - base):
        times[_STOP, one] = min(max(times[_STOP, one], times[_START, one]), life)


@compiled
def divide_one(own: Ints, row: int, place: Ints, first: int, times: Ints, union: Ints) -> None:
    """Divide the time of one IO (`row` of `own`) by the `times` of its spans, in which each stage's become sorted.

    From the deepest stage up, `union` (2, begins and ends, intervals) is when any span of those so far runs.
    """
    count = side = whole_below = 0
    below_first, below_last = _FAR, -1
    for stage in range(own.shape[0] - 1, -1, -1):
        low, high = place[first + stage] - place[first], place[first + stage + 1] - place[first]
        if low == high:
            continue
        start, stop = times[_START, low], times[_STOP, low]
        down = up = reach_down = reach_up = 0
        if high - low == 1 and start <= below_first and stop >= below_last:  # around all that is below, as mostly
            union[side, _START, 0], union[side, _STOP, 0], count, whole = start, stop, 1, stop - start
            if below_last >= 0:
                down, up = below_first - start, stop - below_last
            below_first, below_last = start, stop
        else:
            sort_by_start(times, low, high)
            count, whole = unite(times, low, high, union, side, count)
            side = 1 - side
            for one in range(low, high if below_last >= 0 else low):
                start, stop = times[_START, one], times[_STOP, one]
                before, after = min(stop, below_first), max(start, below_last)
                down += max(before - max(start, reach_down), 0)
                reach_down = max(reach_down, before)
                up += max(stop - max(after, reach_up), 0)
                reach_up = max(reach_up, stop)
            below_first = min(below_first, times[_START, low])
            for one in range(low, high):
                below_last = max(below_last, times[_STOP, one])
        own[stage, _DOWN, row] = down
        own[stage, _BETWEEN, row] = whole - whole_below - down - up
        own[stage, _UP, row] = up
        whole_below = whole


@compiled
def sort_by_start(times: Ints, low: int, high: int) -> None:
    """Sort some spans by their starts: mostly they are few, and in order."""
    if high - low > _FEW:
        order = low + np.argsort(times[_START, low:high], kind="mergesort")
        times[:, low:high] = times[:, order]
        return
    for i in range(low + 1, high):
        start, stop = times[_START, i], times[_STOP, i]
        at = i
        while at > low and times[_START, at - 1] > start:
            times[_START, at], times[_STOP, at] = times[_START, at - 1], times[_STOP, at - 1]
            at -= 1
        times[_START, at], times[_STOP, at] = start, stop


@compiled
def unite(times: Ints, low: int, high: int, union: Ints, side: int, count: int) -> tuple[int, int]:
    """Add spans to the `count` intervals of one side of `union`; return how many the other side has then, how long."""
    i, j, found, whole = low, 0, 0, 0
    until = -1
    while i < high or j < count:
        if j == count or (i < high and times[_START, i] <= union[side, _START, j]):
            start, stop = times[_START, i], times[_STOP, i]
            i += 1
        else:
            start, stop = union[side, _START, j], union[side, _STOP, j]
            j += 1
        if start > until:
            union[1 - side, _START, found] = start
            found += 1
            whole -= start
        else:
            whole -= until
            stop = max(stop, until)
        whole += stop
        until = stop
        union[1 - side, _STOP, found - 1] = until
    return found, whole
