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
    """Own times in ns, (stages, phases, IOs); of each stage and IO the number of spans, the first begin and last end.

    Begins and ends are event indices, -1 for none. An IO that has not ended has no times.
    """

    own_ns: Ints
    spans: Ints
    first: Ints
    last: Ints


def account(ts_ns: Ints, begin: Ints, end: Ints, spans: Spans) -> Times:
    """Divide the time between `begin` and `end` (event indices) of each IO among its spans' stages."""
    count = begin.size
    slot = spans.stage * count + spans.owner
    number = np.bincount(slot, minlength=STAGE_COUNT * count).reshape(STAGE_COUNT, count)
    first, last = _hulls(number, slot, spans)
    own = np.zeros((STAGE_COUNT, PHASE_COUNT, count), dtype=np.int64)
    if not count or not spans.owner.size:
        return Times(own, number, first, last)
    io_begin = ts_ns[begin]
    life = np.where(end >= 0, ts_ns[end] - io_begin, 0)
    simple = _divide_chains(own, number, first, last, ts_ns, io_begin, life)
    rest = np.flatnonzero(~simple[spans.owner])
    if rest.size:
        owners, owner = np.unique(spans.owner[rest], return_inverse=True)
        stage = spans.stage[rest]
        start = np.clip(ts_ns[spans.begin[rest]] - io_begin[owners[owner]], 0, life[owners[owner]])
        stop = np.where(spans.end[rest] >= 0, ts_ns[spans.end[rest]] - io_begin[owners[owner]], NONE)
        _end_with_parent(owner, stage, start, stop, life[owners])
        stop = np.clip(stop, start, life[owners[owner]])
        part = np.zeros((STAGE_COUNT, PHASE_COUNT, owners.size), dtype=np.int64)
        _divide(part, owner, stage, start, stop)
        own[:, :, owners] = part
    return Times(own, number, first, last)


def _hulls(number: Ints, slot: Ints, spans: Spans) -> tuple[Ints, Ints]:
    first, last = np.full(number.size, NONE), np.full(number.size, NONE)
    # In reverse, so that of several spans (in order of begin, mostly) an early one is written last.
    first[slot[::-1]] = spans.begin[::-1]
    last[slot] = spans.end
    several = np.flatnonzero(number.ravel()[slot] > 1)
    if several.size:
        first[slot[several]] = _FAR
        np.minimum.at(first, slot[several], spans.begin[several])
        np.maximum.at(last, slot[several], spans.end[several])
    return first.reshape(number.shape), last.reshape(number.shape)


def _end_with_parent(owner: Ints, stage: Ints, start: Ints, stop: Ints, life: Ints) -> None:
    """A span whose end was not seen ends with the stage above it: it cannot have lasted longer."""
    if (stop >= 0).all():
        return
    limit = life.copy()
    for number in range(STAGE_COUNT):
        here = np.flatnonzero(stage == number)
        of = owner[here]
        stop[here] = np.where(stop[here] < 0, np.maximum(limit[of], start[here]), stop[here])
        latest = np.full(life.size, NONE)
        np.maximum.at(latest, of, stop[here])
        limit = np.where(latest >= 0, latest, limit)


def _divide_chains(own: Ints, number: Ints, first: Ints, last: Ints, ts_ns: Ints, io_begin: Ints, life: Ints) -> Bools:
    """Do the IOs with at most one span a stage, each within the one above, by subtraction; return which they were."""
    simple: Bools = np.ones(life.size, dtype=np.bool_)
    child_start, child_stop = np.full(life.size, _FAR), np.full(life.size, NONE)
    for stage in reversed(range(STAGE_COUNT)):
        has = number[stage] > 0
        if not has.any():
            continue
        simple &= (number[stage] <= 1) & (~has | (last[stage] >= 0))
        start = np.clip(ts_ns[first[stage]] - io_begin, 0, life)
        stop = np.clip(ts_ns[last[stage]] - io_begin, start, life)
        is_leaf = child_stop < 0
        simple &= ~has | is_leaf | ((start <= child_start) & (stop >= child_stop))
        is_parent = has & ~is_leaf
        own[stage, 1] = np.where(has & is_leaf, stop - start, 0)
        own[stage, 0] = np.where(is_parent, child_start - start, 0)
        own[stage, 2] = np.where(is_parent, stop - child_stop, 0)
        child_start = np.where(has, start, child_start)
        child_stop = np.where(has, stop, child_stop)
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
