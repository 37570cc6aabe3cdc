"""Divide the time of each IO exactly: every instant belongs to the deepest stage that is working on it.

So the times of one IO are never negative and add up to its latency, whatever was split, merged or done in parallel.
"""

from dataclasses import dataclass

import numpy as np

from vio.layer import Phase, Stage
from vio.reporter.compiled import Bytes
from vio.reporter.divide import by_io_and_stage, divide
from vio.reporter.match import Ints
from vio.reporter.paths import Spans

STAGE_COUNT = len(Stage)
PHASE_COUNT = len(Phase)
BEGINS, ENDS, TIMES = range(3)


@dataclass(frozen=True, slots=True)
class Times:
    """Own times in ns of the chosen IOs (stages, phases, IOs); the first begin and last end of each (2, stages, IOs).

    `bits` tell, for each stage, which IOs have a begin, an end, times; one that has not ended has no times. `children`
    counts an IO's spans but one, `reached` is the deepest stage of them. The spans of each IO of the window are
    `order[first[io]:first[io + 1]]`.
    """

    own_ns: Ints
    stamps_ns: Ints
    bits: Bytes
    children: Ints
    reached: Ints
    first: Ints
    order: Ints


def account(ts_ns: Ints, begin: Ints, end: Ints, spans: Spans, which: Ints | None = None) -> Times:
    """Divide the time from `begin` to `end` (event indices) of the chosen IOs, or all, among their spans' stages."""
    if which is None:
        which = np.arange(begin.size)
    columns = spans.owner, spans.stage, spans.begin, spans.end
    place, begins, ends, order = by_io_and_stage(*columns, ts_ns, begin.size, STAGE_COUNT)
    times = Times(
        np.zeros((STAGE_COUNT, PHASE_COUNT, which.size), np.int64),
        np.zeros((2, STAGE_COUNT, which.size), np.int64),
        np.zeros((3, STAGE_COUNT, (which.size + 7) // 8), np.uint8),
        np.zeros(which.size, np.int64),
        np.zeros(which.size, np.int64),
        place[::STAGE_COUNT].copy(),
        order,
    )
    divide(
        *(which, place, begins, ends, ts_ns, begin, end),
        *(times.own_ns, times.stamps_ns, times.bits, times.children, times.reached),
    )
    return times
