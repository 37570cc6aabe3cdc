"""Events of the scheduler: only what is of the target's threads."""

import struct
from pathlib import Path

import numpy as np
import pytest

from vio.recorder.procfs import HostRoots
from vio.recorder.tracefields import Kind, Source, TraceRule
from vio.recorder.tracepages import Events
from vio.recorder.tracerows import RowMaker
from vio.recorder.tracesched import WAKING as WAKING_EVENT
from vio.recorder.tracesched import of_threads, wakings_of
from vio.recorder.tracethreads import Threads

PID, IOTHREAD, VCPU, FOREIGN = 50, 51, 52, 4000
SWITCH, WAKING = 7, 8
NOTHING = Source(Kind.CONSTANT)
PREV, NEXT, WOKEN = Source(Kind.FIELD, 12, 4, True), Source(Kind.FIELD, 16, 4, True), Source(Kind.FIELD, 12, 4, True)
STATE = Source(Kind.FIELD, 8, 4)
RULES = {
    SWITCH: TraceRule(1, "s", "switch", "", False, STATE, PREV, NOTHING, NOTHING, NEXT, threads=(PREV, NEXT)),
    WAKING: TraceRule(2, "s", WAKING_EVENT, "", False, STATE, NOTHING, NOTHING, NOTHING, WOKEN, threads=(WOKEN,)),
}


@pytest.fixture
def threads(tmp_path: Path) -> Threads:
    for tid in (PID, IOTHREAD, VCPU):
        (tmp_path / str(PID) / "task" / str(tid)).mkdir(parents=True)
    found = Threads(PID, HostRoots(proc=tmp_path))
    found.list_new()
    return found


def events_of(*rows: tuple[int, int, int, int, int]) -> Events:
    """Build events of (kind, current thread, state, one thread, other thread)."""
    raw = [struct.pack("<HHiIii", kind, 0, current, state, one, other) for kind, current, state, one, other in rows]
    words = np.frombuffer(bytearray(b"".join(raw)), "<u4")
    return Events(words, np.arange(len(rows), dtype=np.int64) * 5, np.arange(len(rows), dtype=np.int64) + 100)


def test_a_thread_of_somebody_else_is_blanked(threads: Threads) -> None:
    events = events_of((SWITCH, IOTHREAD, 1, IOTHREAD, FOREIGN), (SWITCH, FOREIGN, 0, FOREIGN, PID))
    rows = RowMaker(RULES).rows(of_threads(events, RULES, threads, frozenset()))
    assert (rows.extent >> np.uint64(32)).tolist() == [IOTHREAD, 0]
    assert rows.key.tolist() == [0, PID]


def test_what_is_of_nobody_here_is_left_out(threads: Threads) -> None:
    events = events_of(
        (SWITCH, FOREIGN, 0, FOREIGN, 0),
        (SWITCH, VCPU, 1, VCPU, FOREIGN),
        (WAKING, IOTHREAD, 1, FOREIGN, 0),
        (WAKING, FOREIGN, 8, IOTHREAD, 0),
        (SWITCH, VCPU, 1, VCPU, IOTHREAD),
    )
    rows = RowMaker(RULES).rows(of_threads(events, RULES, threads, frozenset({VCPU})))
    assert rows.time_ns.tolist() == [103, 104]
    assert rows.key.tolist() == [IOTHREAD, IOTHREAD]
    # who wakes may be anybody
    assert (rows.header >> np.uint64(32)).tolist() == [FOREIGN, VCPU]
    assert (rows.extent >> np.uint64(32)).tolist() == [0, 0]


def test_numbers_that_are_no_thread(threads: Threads) -> None:
    assert threads.has(np.array([0, 2**64 - 1, 1 << 22, PID], np.uint64)).tolist() == [False, False, False, True]


def test_who_wakes_a_thread_is_found(threads: Threads) -> None:
    events = events_of((WAKING, FOREIGN, 0, IOTHREAD, 0), (WAKING, PID, 0, FOREIGN, 0), (SWITCH, PID, 1, PID, 0))
    assert wakings_of(events, RULES, threads).time_ns.tolist() == [100]
    threads.take_in([FOREIGN])
    assert wakings_of(events, RULES, threads).time_ns.tolist() == [100, 101]
