"""Divide the time of each IO exactly: every instant belongs to the deepest stage that is working on it.

So the times of one IO are never negative and add up to its latency, whatever was split, merged or done in parallel.
"""

from dataclasses import dataclass

import numpy as np

from vio.layer import Phase, Stage
from vio.reporter.compiled import Bytes
from vio.reporter.divide import divide_chains, divide_spans, hulls, spans_of_some
from vio.reporter.match import NONE, Ints
from vio.reporter.paths import Spans

STAGE_COUNT = len(Stage)
PHASE_COUNT = len(Phase)
BEGINS, ENDS, TIMES = range(3)


@dataclass(frozen=True, slots=True)
class Times:
    """Own times in ns of the chosen IOs (stages, phases, IOs); the first begin and last end of each (2, stages, IOs).

    `bits` tell, for each stage, which IOs have a begin, an end, times; one that has not ended has no times. `children`
    counts an IO's spans but one, `reached` is the deepest stage of them.
    """

    own_ns: Ints
    stamps_ns: Ints
    bits: Bytes
    children: Ints
    reached: Ints


def account(ts_ns: Ints, begin: Ints, end: Ints, spans: Spans, which: Ints | None = None) -> Times:
    """Divide the time from `begin` to `end` (event indices) of the chosen IOs, or all, among their spans' stages."""
    if which is None:
        which = np.arange(begin.size)
    shape = (STAGE_COUNT, begin.size)
    number, first, last = np.zeros(shape, np.int64), np.full(shape, NONE), np.full(shape, NONE)
    hulls(spans.owner, spans.stage, spans.begin, spans.end, ts_ns.size, number, first, last)
    times = Times(
        np.zeros((STAGE_COUNT, PHASE_COUNT, which.size), np.int64),
        np.zeros((2, STAGE_COUNT, which.size), np.int64),
        np.zeros((3, STAGE_COUNT, (which.size + 7) // 8), np.uint8),
        np.zeros(which.size, np.int64),
        np.zeros(which.size, np.int64),
    )
    is_simple = divide_chains(
        *(which, number, first, last, ts_ns, begin, end),
        *(times.own_ns, times.stamps_ns, times.bits, times.children, times.reached),
    )
    if not is_simple.all():
        rest = np.flatnonzero(~is_simple)
        io_begin, ended = ts_ns[begin[which[rest]]], end[which[rest]]
        life = np.where(ended >= 0, ts_ns[ended] - io_begin, 0)
        place = np.full(begin.size, NONE, dtype=np.int64)
        place[which[rest]] = np.arange(rest.size)
        theirs = spans_of_some(spans.owner, spans.stage, spans.begin, spans.end, place, ts_ns, io_begin, life)
        divide_spans(times.own_ns, *theirs, rest, life)
    return times
