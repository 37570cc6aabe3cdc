"""Divide the time of each IO exactly: every instant belongs to the deepest stage that is working on it.

So the times of one IO are never negative and add up to its latency, whatever was split, merged or done in parallel.
"""

from dataclasses import dataclass

import numpy as np

from vio.layer import Phase, Stage
from vio.reporter.match import NONE, Bools, Ints
from vio.reporter.paths import Spans

STAGE_COUNT = len(Stage)
PHASE_COUNT = len(Phase)
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Times:
    """Own times in ns, an array of (stages, phases, IOs), and the number of spans, (stages, IOs).

    An IO that has not ended has no times.
    """

    own_ns: Ints
    spans: Ints


def account(ts_ns: Ints, begin: Ints, end: Ints, spans: Spans) -> Times:
    """Divide the time between `begin` and `end` (event indices) of each IO among its spans' stages."""
    count = begin.size
    slot = spans.stage * count + spans.owner
    number = np.bincount(slot, minlength=STAGE_COUNT * count).reshape(STAGE_COUNT, count)
    own = np.zeros((STAGE_COUNT, PHASE_COUNT, count), dtype=np.int64)
    if not count or not spans.owner.size:
        return Times(own, number)
    io_begin = ts_ns[begin]
    life = np.where(end >= 0, ts_ns[end] - io_begin, 0)
    start = np.clip(ts_ns[spans.begin] - io_begin[spans.owner], 0, life[spans.owner])
    stop = np.where(spans.end >= 0, ts_ns[spans.end] - io_begin[spans.owner], NONE)
    _end_with_parent(spans, start, stop, life)
    stop = np.clip(stop, start, life[spans.owner])
    simple = _divide_chains(own, number, spans, start, stop)
    rest = np.flatnonzero(~simple[spans.owner])
    if rest.size:
        rest = rest[np.lexsort((start[rest], spans.owner[rest]))]
        owners, owner = np.unique(spans.owner[rest], return_inverse=True)
        part = np.zeros((STAGE_COUNT, PHASE_COUNT, owners.size), dtype=np.int64)
        _divide(part, owner, spans.stage[rest], start[rest], stop[rest])
        own[:, :, owners] = part
    return Times(own, number)


def _end_with_parent(spans: Spans, start: Ints, stop: Ints, life: Ints) -> None:
    """A span whose end was not seen ends with the stage above it: it cannot have lasted longer."""
    open_spans = np.flatnonzero(stop < 0)
    if not open_spans.size:
        return
    is_affected = np.zeros(life.size, dtype=np.bool_)
    is_affected[spans.owner[open_spans]] = True
    affected = np.flatnonzero(is_affected[spans.owner])
    limit = life.copy()
    for stage in range(STAGE_COUNT):
        here = affected[spans.stage[affected] == stage]
        owner = spans.owner[here]
        stop[here] = np.where(stop[here] < 0, np.maximum(limit[owner], start[here]), stop[here])
        latest = np.full(life.size, NONE)
        np.maximum.at(latest, owner, stop[here])
        limit = np.where(latest >= 0, latest, limit)


def _divide_chains(own: Ints, number: Ints, spans: Spans, start: Ints, stop: Ints) -> Bools:
    """Do the IOs with at most one span a stage, each within the one above, by subtraction; return which they were."""
    count = number.shape[1]
    simple: Bools = np.asarray((number <= 1).all(axis=0))
    if not simple.any():
        return simple
    starts = np.full((STAGE_COUNT, count), _FAR)
    stops = np.full((STAGE_COUNT, count), NONE)
    mine = simple[spans.owner]
    starts[spans.stage[mine], spans.owner[mine]] = start[mine]
    stops[spans.stage[mine], spans.owner[mine]] = stop[mine]
    child_start, child_stop = np.full(count, _FAR), np.full(count, NONE)
    for stage in reversed(range(STAGE_COUNT)):
        if not number[stage].any():
            continue
        has = stops[stage] >= 0
        is_leaf = has & (child_stop < 0)
        is_parent = has & (child_stop >= 0)
        simple &= ~is_parent | ((starts[stage] <= child_start) & (stops[stage] >= child_stop))
        own[stage, 1] = np.where(is_leaf, stops[stage] - starts[stage], 0)
        own[stage, 0] = np.where(is_parent, child_start - starts[stage], 0)
        own[stage, 2] = np.where(is_parent, stops[stage] - child_stop, 0)
        child_start = np.where(has, starts[stage], child_start)
        child_stop = np.where(has, stops[stage], child_stop)
    return simple


def _divide(own: Ints, owner: Ints, stage: Ints, start: Ints, stop: Ints) -> None:
    """From the top stage down: a stage's own time is what it and all below cover, less what those below cover alone."""
    count = own.shape[2]
    for number in range(STAGE_COUNT):
        has = stage >= number
        owner, stage, start, stop = owner[has], stage[has], start[has], stop[has]
        if not owner.size:
            break
        below = stage > number
        first = np.full(count, _FAR)
        last = np.full(count, NONE)
        np.minimum.at(first, owner[below], start[below])
        np.maximum.at(last, owner[below], stop[below])
        is_leaf = last < 0
        whole = _union(owner, start, stop, count) - _union(owner[below], start[below], stop[below], count)
        down = np.where(is_leaf, 0, _union(owner, start, np.minimum(stop, first[owner]), count))
        up = np.where(is_leaf, 0, _union(owner, np.maximum(start, last[owner]), stop, count))
        own[number, 0] = down
        own[number, 1] = whole - down - up
        own[number, 2] = up


def _union(owner: Ints, start: Ints, stop: Ints, count: int) -> Ints:
    """Return the length of the union of each owner's intervals; owners ascending, empty intervals allowed."""
    covered = np.zeros(count, dtype=np.int64)
    if not owner.size:
        return covered
    # Owners one after the other on one line, so that one running maximum serves them all.
    base = owner * (int(stop.max()) + 1)
    lower, upper = np.minimum(start, stop) + base, stop + base
    order = np.argsort(lower, kind="stable")
    lower, upper = lower[order], upper[order]
    reach = np.append(np.int64(0), np.maximum.accumulate(upper)[:-1])
    np.add.at(covered, owner[order], np.maximum(upper - np.maximum(lower, reach), 0))
    return covered
