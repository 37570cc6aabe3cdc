"""From telling the guest to a virtual CPU taking the interrupt: by thread to the MSI, and by its vector from there."""

import numpy as np

from vio.reporter.compiled import Ints, compiled
from vio.reporter.moves import INJECT, MSI, NOTIFY, Moves
from vio.reporter.runs import codes_in, distinct

_VECTORS = 256


@compiled
def injections(ts_ns: Ints, kind: Ints, tid: Ints, vector: Ints) -> Ints:
    """Return for each NOTIFY when its interrupt was injected, -1 where none was sent or taken; for other moves -1.

    `tid` are small numbers of threads. A thread's MSI belongs to its last notification before, `vector` counts modulo
    256; a vector that is sent again before it is taken is taken once for all.
    """
    taken_ns = np.full(ts_ns.size, -1, np.int64)
    last = np.full(tid.max() + 1 if tid.size else 0, -1, np.int64)
    # the notifications that wait for a vector, each with the one before
    waiting = np.full(_VECTORS, -1, np.int64)
    before = np.full(ts_ns.size, -1, np.int64)
    for i in range(ts_ns.size):
        at = vector[i] % _VECTORS
        if kind[i] == NOTIFY:
            last[tid[i]] = i
        elif kind[i] == MSI and last[tid[i]] >= 0:
            before[last[tid[i]]] = waiting[at]
            waiting[at] = last[tid[i]]
            last[tid[i]] = -1
        elif kind[i] == INJECT:
            one = waiting[at]
            while one >= 0:
                taken_ns[one] = ts_ns[i]
                one = before[one]
            waiting[at] = -1
    return taken_ns


def inject_waits(moves: Moves, notify_ns: Ints, tid: Ints) -> Ints:
    """Return for notifications of IOs, by time and thread, how long the guest's interrupt took; -1 for not known."""
    found = np.full(notify_ns.size, -1, np.int64)
    if not (moves.kind == INJECT).any():
        return found
    taken_ns = injections(moves.ts_ns, moves.kind, codes_in(distinct(moves.tid), moves.tid), moves.other)
    told = np.flatnonzero(moves.kind == NOTIFY)
    if not told.size:
        return found
    # two threads may notify in the same nanosecond: then it is the first of them, or none
    place = told[np.minimum(np.searchsorted(moves.ts_ns[told], notify_ns), told.size - 1)]
    is_it = (moves.ts_ns[place] == notify_ns) & (moves.tid[place] == tid) & (taken_ns[place] >= 0)
    found[is_it] = (taken_ns[place] - notify_ns)[is_it]
    return found
