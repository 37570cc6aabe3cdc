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


@dataclass(frozen=True, slots=True)
class Times:
    """Own times in ns, an array of (IOs, stages, phases), and which stages each IO reached; 0 for an unended IO."""

    own_ns: Ints
    is_reached: Bools


def account(ts_ns: Ints, begin: Ints, end: Ints, spans: Spans) -> Times:
    """Divide the time between `begin` and `end` (event indices) of each IO among its spans' stages."""
    count = begin.size
    reached = np.zeros((count, STAGE_COUNT), dtype=np.bool_)
    reached[spans.owner, spans.stage] = True
    own = np.zeros((count, STAGE_COUNT, PHASE_COUNT), dtype=np.int64)
    if not count or not spans.owner.size:
        return Times(own, reached)
    io_begin = ts_ns[begin]
    io_end = np.where(end >= 0, ts_ns[end], io_begin)
    start = np.clip(ts_ns[spans.begin], io_begin[spans.owner], io_end[spans.owner])
    stop = np.where(spans.end >= 0, ts_ns[spans.end], io_end[spans.owner])
    stop = np.clip(stop, start, io_end[spans.owner])
    start, stop = start - io_begin[spans.owner], stop - io_begin[spans.owner]
    order = np.lexsort((start, spans.owner))
    _divide(own, spans.owner[order], spans.stage[order], start[order], stop[order], count)
    return Times(own, reached)


def _divide(own: Ints, owner: Ints, stage: Ints, start: Ints, stop: Ints, count: int) -> None:
    """From the top stage down: a stage's own time is what it and all below cover, less what those below cover alone."""
    far = np.iinfo(np.int64).max
    for number in range(STAGE_COUNT):
        has = stage >= number
        owner, stage, start, stop = owner[has], stage[has], start[has], stop[has]
        if not owner.size:
            break
        below = stage > number
        first = np.full(count, far)
        last = np.full(count, NONE)
        np.minimum.at(first, owner[below], start[below])
        np.maximum.at(last, owner[below], stop[below])
        is_leaf = last < 0
        all_time = _union(owner, start, stop, count)
        below_time = _union(owner[below], start[below], stop[below], count)
        down = _union(owner, start, np.minimum(stop, first[owner]), count)
        up = _union(owner, np.maximum(start, last[owner]), stop, count)
        whole = all_time - below_time
        down = np.where(is_leaf, 0, down)
        up = np.where(is_leaf, 0, up)
        own[:, number, 0] = down
        own[:, number, 1] = whole - down - up
        own[:, number, 2] = up


def _union(owner: Ints, start: Ints, stop: Ints, count: int) -> Ints:
    """Return the length of the union of each owner's intervals; owners ascending, starts ascending within each."""
    covered = np.zeros(count, dtype=np.int64)
    if not owner.size:
        return covered
    # Owners one after the other on one line, so that one running maximum serves them all.
    span = int(stop.max()) + 1
    base = owner * span
    start, stop = np.minimum(start, np.maximum(stop, start)) + base, np.maximum(stop, start) + base
    reach = np.maximum.accumulate(stop)
    before = np.append(np.int64(0), reach[:-1])
    np.add.at(covered, owner, np.maximum(stop - np.maximum(start, before), 0))
    return covered
