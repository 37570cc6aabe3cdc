"""Of events that tell when threads ran, only what is of the target's threads. Pure but for what it blanks.

The kernel gives a switch to an instance if either of its threads is followed, so the other may be anybody's.
"""

from collections.abc import Mapping

import numpy as np

from vio.recorder.tracefields import TraceRule
from vio.recorder.tracepages import Events
from vio.recorder.tracerows import event_ids, read_source
from vio.recorder.tracethreads import Threads

WAKING = "sched_waking"
_NOBODY = np.uint32(0)


def of_threads(events: Events, rules: Mapping[int, TraceRule], threads: Threads, left_out: frozenset[int]) -> Events:
    """Return the events in which a rule's `threads` name one of the target's, but for those `left_out`.

    What is another's, or left out, is blanked in the events themselves.
    """
    ids = event_ids(events)
    is_kept = np.zeros(len(events), np.bool_)
    apart = np.array(sorted(left_out), np.uint64)
    for number, rule in rules.items():
        which = np.flatnonzero(ids == number)
        some = events.pick(which)
        for source in rule.threads:
            tids = read_source(some, source)
            is_ours = threads.has(tids) & ~np.isin(tids, apart)
            some.words[some.at[~is_ours] + source.offset // 4] = _NOBODY
            is_kept[which] |= is_ours
    return events.pick(is_kept)


def wakings_of(events: Events, rules: Mapping[int, TraceRule], threads: Threads) -> Events:
    """Return the events by which any of the threads is woken; who writes one wakes it."""
    ids, is_kept = event_ids(events), np.zeros(len(events), np.bool_)
    for number, rule in rules.items():
        if rule.event == WAKING:
            which = np.flatnonzero(ids == number)
            is_kept[which] = threads.has(read_source(events.pick(which), rule.threads[0]))
    return events.pick(is_kept)
