"""For how long threads were awake: by their switches and wakings."""

import numpy as np
import pytest

from vio.reporter.busy import Busy
from vio.reporter.moves import SWITCH, WAKING, Moves

ONE, OTHER = 11, 12
MS = 1_000_000
BEGIN_NS = 5_000 * MS


def moves(*every: tuple[int, int, int, int, int]) -> Moves:
    """Make moves of (ms, kind, tid, other, flags)."""
    ms, *rest = np.array(every, dtype=np.int64).T
    return Moves(BEGIN_NS + ms * MS, *rest)


def share(busy: Busy, tid: int, from_ms: int, to_ms: int) -> float:
    return busy.share(tid, BEGIN_NS + from_ms * MS, BEGIN_NS + to_ms * MS)


def test_a_thread_is_awake_from_its_waking_to_its_sleep() -> None:
    busy = Busy()
    busy.add(moves((0, WAKING, 1, ONE, 0), (2, SWITCH, 0, ONE, 0), (50, SWITCH, ONE, 0, 1), (99, SWITCH, OTHER, 0, 1)))
    assert share(busy, ONE, 0, 99) == pytest.approx(0.5, abs=0.02)
    assert share(busy, ONE, 50, 99) < 0.03


def test_one_that_is_preempted_stays_awake() -> None:
    busy = Busy()
    busy.add(moves((0, SWITCH, 0, ONE, 0), (10, SWITCH, ONE, 0, 0), (90, SWITCH, 0, ONE, 0), (99, SWITCH, ONE, 0, 1)))
    assert share(busy, ONE, 0, 98) == pytest.approx(1.0, abs=0.02)


def test_one_that_is_seen_to_leave_first_was_awake_from_the_start_and_one_that_never_leaves_to_the_end() -> None:
    busy = Busy()
    busy.add(moves((0, SWITCH, 0, OTHER, 0), (30, SWITCH, ONE, 0, 1), (99, WAKING, 0, ONE, 0)))
    assert share(busy, ONE, 0, 99) == pytest.approx(0.3, abs=0.02)
    assert share(busy, OTHER, 0, 99) == pytest.approx(1.0, abs=0.02)


def test_windows_make_no_difference_and_a_long_recording_only_a_coarser_one() -> None:
    every = [(at, SWITCH, *((0, ONE, 0) if at // 10 % 2 == 0 else (ONE, 0, 1))) for at in range(0, 20_000, 10)]
    at_once, piecemeal = Busy(), Busy()
    at_once.add(moves(*every))
    for first in range(0, len(every), 7):
        piecemeal.add(moves(*every[first : first + 7]))
    assert at_once.slot_ns == piecemeal.slot_ns == 8 * MS
    for stretch in ((0, 19_999), (4_000, 8_000)):
        assert share(at_once, ONE, *stretch) == pytest.approx(0.5, abs=0.01)
        assert share(piecemeal, ONE, *stretch) == pytest.approx(share(at_once, ONE, *stretch), abs=0.005)


def test_of_a_thread_that_was_never_seen_nothing_is_said() -> None:
    assert Busy().share(ONE, 0, 100) == 0.0
