"""Divide the time of each IO exactly: every instant belongs to the deepest stage that is working on it.

So the times of one IO are never negative and add up to its latency, whatever was split, merged or done in parallel.
"""

from dataclasses import dataclass

import numpy as np

from vio.layer import Phase, Stage
from vio.reporter.divide import divide_chains, divide_spans, hulls
from vio.reporter.match import NONE, Ints, stable_order
from vio.reporter.paths import Spans

STAGE_COUNT = len(Stage)
PHASE_COUNT = len(Phase)


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
    shape = (STAGE_COUNT, count)
    number, first, last = np.zeros(shape, np.int64), np.full(shape, NONE), np.full(shape, NONE)
    hulls(spans.owner, spans.stage, spans.begin, spans.end, number, first, last)
    own = np.zeros((STAGE_COUNT, PHASE_COUNT, count), dtype=np.int64)
    if not count or not spans.owner.size:
        return Times(own, number, first, last)
    io_begin = ts_ns[begin]
    life = np.where(end >= 0, ts_ns[end] - io_begin, 0)
    is_simple = divide_chains(own, number, first, last, ts_ns, io_begin, life)
    if not is_simple.all():
        _divide_rest(own, np.flatnonzero(~is_simple), ts_ns, io_begin, life, spans)
    return Times(own, number, first, last)


def _divide_rest(own: Ints, which: Ints, ts_ns: Ints, io_begin: Ints, life: Ints, spans: Spans) -> None:
    """Do some IOs with spans that lie in any way."""
    place = np.full(life.size, NONE, dtype=np.int64)
    place[which] = np.arange(which.size)
    rest = np.flatnonzero(place[spans.owner] >= 0)
    rest = rest[stable_order(place[spans.owner[rest]])]
    owner, ended = spans.owner[rest], spans.end[rest]
    start = np.clip(ts_ns[spans.begin[rest]] - io_begin[owner], 0, life[owner])
    stop = np.where(ended >= 0, ts_ns[ended] - io_begin[owner], NONE)
    first = np.searchsorted(place[owner], np.arange(which.size + 1))
    divide_spans(own, first, spans.stage[rest], start, stop, which, life)
