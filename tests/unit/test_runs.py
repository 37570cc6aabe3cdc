"""When threads did not run though they could: the stories of single threads."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.reporter.moves import KICK, SWITCH, WAKING, Moves
from vio.reporter.runs import (
    FROM_NS,
    KICK_NS,
    KIND,
    NEXT_KICK_NS,
    PREEMPTED,
    SLEPT_NS,
    STOPPED,
    TO_NS,
    WAKER,
    WOKEN,
    Runs,
    code_of,
    codes_in,
    distinct,
    first_ending,
    first_later,
    off_cpu_ns,
    waking_of_sleeper,
)
from vio.reporter.stretches import Follower

ME, OTHER, GUEST = 20, 10, 90
READY, SLEEP, DISK_SLEEP, STOP, PREEMPT = 0, 1, 2, 4, 256
IRQ = 8

Move = tuple[int, int, int, int, int]


def leaves(at: int, state: int, tid: int = ME) -> Move:
    return at, SWITCH, tid, 0, state


def runs(at: int, tid: int = ME) -> Move:
    return at, SWITCH, 0, tid, READY


def woken(at: int, by: int = OTHER, context: int = 0, tid: int = ME) -> Move:
    return at, WAKING, by, tid, context


def kick(at: int, tid: int = ME) -> Move:
    return at, KICK, tid, 0, 0


def moves_of(*story: Move) -> Moves:
    return Moves(*(np.array(column, np.int64) for column in zip(*story, strict=True)))


def runs_of(*windows: Moves) -> Runs:
    follower = Follower()
    for moves in windows:
        follower.add(moves)
    return follower.runs()


def stretches(found: Runs, tid: int = ME) -> list[tuple[int, int, int]]:
    code = code_of(found.tids, tid)
    which = slice(found.first[code], found.first[code + 1])
    columns = found.table[[KIND, FROM_NS, TO_NS]][:, which]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param([leaves(1, SLEEP), woken(5), runs(8)], [(WOKEN, 5, 8)], id="woken"),
        pytest.param([leaves(1, DISK_SLEEP), woken(5), woken(6), runs(8)], [(WOKEN, 5, 8)], id="woken twice"),
        pytest.param([leaves(1, READY), runs(9)], [(PREEMPTED, 1, 9)], id="preempted"),
        pytest.param([leaves(1, PREEMPT), woken(3), runs(9)], [(PREEMPTED, 1, 9)], id="woken while preempted"),
        pytest.param([leaves(1, STOP), woken(7), runs(9)], [(STOPPED, 1, 7), (WOKEN, 7, 9)], id="stopped"),
        pytest.param([leaves(1, 8), runs(9)], [(STOPPED, 1, 9)], id="traced, its waking not seen"),
        pytest.param([runs(1), woken(2), leaves(3, SLEEP), runs(6)], [(WOKEN, 3, 6)], id="woken before it slept"),
        pytest.param(
            [runs(1), woken(2), leaves(3, PREEMPT), runs(6), leaves(7, SLEEP), runs(9)],
            [(PREEMPTED, 3, 6)],
            id="an early waking is forgotten when it runs",
        ),
        pytest.param([leaves(1, SLEEP), runs(9)], [], id="its waking is lost"),
        pytest.param([woken(5), leaves(7, SLEEP), woken(8), runs(9)], [(WOKEN, 8, 9)], id="its running is lost"),
        pytest.param([runs(9)], [], id="begins in the middle"),
        pytest.param([leaves(1, SLEEP), woken(5)], [], id="ends in the middle"),
    ],
)
def test_one_thread(story: Sequence[Move], expected: list[tuple[int, int, int]]) -> None:
    assert stretches(runs_of(moves_of(*story))) == expected


def test_threads_do_not_mix() -> None:
    found = runs_of(moves_of(leaves(1, SLEEP), leaves(2, PREEMPT, OTHER), woken(3), runs(4, OTHER), runs(6)))
    assert found.tids.tolist() == [OTHER, ME]
    assert stretches(found, OTHER) == [(PREEMPTED, 2, 4)]
    assert stretches(found) == [(WOKEN, 3, 6)]


def test_one_switch_has_two_sides() -> None:
    found = runs_of(moves_of(woken(1), (4, SWITCH, OTHER, ME, PREEMPT), (9, SWITCH, ME, OTHER, SLEEP)))
    assert stretches(found) == [(WOKEN, 1, 4)]
    assert stretches(found, OTHER) == [(PREEMPTED, 4, 9)]


@given(st.lists(st.integers(0, 30)), st.integers(-1, 31), st.integers(-2, 40), st.data())
def test_from_wherever_it_is_looked_for_the_first_later_is_found(
    values: list[int], limit: int, near: int, data: st.DataObject
) -> None:
    low = data.draw(st.integers(0, len(values)))
    high = data.draw(st.integers(low, len(values)))
    table = np.array([[0] * len(values), sorted(values)], dtype=np.int64)
    found = first_later(table, 1, low, high, limit, near)
    assert found == low + int(np.searchsorted(table[1, low:high], limit, side="right"))


@given(st.lists(st.integers(-1, 5000)), st.sets(st.integers(0, 5000)))
def test_threads_are_found_however_often_they_come(values: list[int], ids: set[int]) -> None:
    tids, every = np.array(sorted(ids), dtype=np.int64), np.array(values, dtype=np.int64)
    assert codes_in(tids, every).tolist() == [sorted(ids).index(one) if one in ids else -1 for one in values]
    assert distinct(every).tolist() == sorted(set(values))


def place_at(found: Runs, near: int, time_ns: int) -> int:
    return first_ending(found.first, found.table, np.full(found.tids.size, near), 0, time_ns)


def off_cpu(found: Runs, near: int, from_ns: int, to_ns: int) -> tuple[int, int]:
    return off_cpu_ns(found.first, found.table, 0, from_ns, to_ns, place_at(found, near, from_ns))


@pytest.mark.parametrize("near", [0, 2, 4])
def test_how_long_until_a_time(near: int) -> None:
    found = runs_of(
        moves_of(leaves(10, PREEMPT), runs(15), leaves(20, STOP), woken(30), runs(32), leaves(40, SLEEP), woken(50))
    )
    sums = [off_cpu(found, near, 5, at) for at in (9, 10, 12, 15, 18, 25, 30, 31, 32, 99)]
    assert sums == [(0, 0), (0, 0), (2, 0), (5, 0), (5, 0), (5, 5), (5, 10), (6, 10), (7, 10), (7, 10)]


@pytest.mark.parametrize("near", [0, 2, 4])
def test_who_sleeps_is_still_to_be_woken(near: int) -> None:
    found = runs_of(
        moves_of(
            leaves(10, SLEEP), woken(20), runs(25), leaves(30, PREEMPT), runs(35), leaves(40, STOP), woken(50), runs(55)
        )
    )
    at = {
        time: waking_of_sleeper(found.first, found.table, 0, time, place_at(found, near, time))
        for time in (9, 10, 19, 20, 27, 32, 40, 49, 50, 60)
    }
    waking, resuming = 0, 3
    assert at == {9: -1, 10: waking, 19: waking, 20: -1, 27: -1, 32: -1, 40: resuming, 49: resuming, 50: -1, 60: -1}


def test_who_woke_it_and_what_it_did_then() -> None:
    found = runs_of(
        moves_of(woken(1, GUEST), runs(2), kick(3), kick(5), kick(6), leaves(7, SLEEP), woken(8, OTHER, IRQ), runs(9))
    )
    assert found.table[WAKER].tolist() == [GUEST, -1]
    assert found.table[KICK_NS].tolist() == [3, -1]
    assert found.table[NEXT_KICK_NS].tolist() == [5, -1]


def test_nothing_at_all() -> None:
    found = runs_of(Moves.joined([]))
    assert found.tids.size == 0
    assert found.table.size == 0


TIDS = st.sampled_from([0, OTHER, ME, GUEST])
SOME = st.tuples(
    st.sampled_from([SWITCH, WAKING, KICK]), TIDS, TIDS, st.sampled_from([READY, SLEEP, STOP, PREEMPT, IRQ])
)


def rows(found: Runs) -> set[tuple[int, ...]]:
    """All stretches with all that is known of each; sums are since the first that is kept."""
    tid = np.repeat(found.tids, np.diff(found.first))
    return set(zip(tid.tolist(), *found.table[: SLEPT_NS + 1].tolist(), strict=True))


STEPS = st.sampled_from([leaves(0, SLEEP), leaves(0, PREEMPT), leaves(0, STOP), woken(0), runs(0)])


@given(st.lists(STEPS, min_size=2, max_size=12), st.integers(0, 12))
def test_between_two_times_it_is_what_stretches_have_in_common_with_them(steps: list[Move], near: int) -> None:
    found = runs_of(moves_of(*((3 * at, *step[1:]) for at, step in enumerate(steps))))
    if not found.tids.size:
        return
    for from_ns, to_ns in itertools.combinations_with_replacement(range(-1, 3 * len(steps) + 1), 2):
        expected = [0, 0]
        for kind, begin, end in stretches(found):
            expected[kind == STOPPED] += max(min(end, to_ns) - max(begin, from_ns), 0)
        assert list(off_cpu(found, near, from_ns, to_ns)) == expected


@given(st.lists(SOME, max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_windows_change_nothing(story: list[tuple[int, int, int, int]], cuts: list[int]) -> None:
    moves = Moves(*np.array([(at, *move) for at, move in enumerate(story)], np.int64).reshape(-1, 5).T)
    edges = [0, *sorted(min(cut, len(story)) for cut in cuts), len(story)]
    whole = runs_of(moves)
    parts = runs_of(*(moves.take(slice(a, b)) for a, b in itertools.pairwise(edges)))
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)


@given(st.lists(SOME, max_size=40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))
def test_what_is_forgotten_is_the_oldest_and_nothing_else(
    story: list[tuple[int, int, int, int]], cut: int, before: int, most: int
) -> None:
    moves = Moves(*np.array([(at, *move) for at, move in enumerate(story)], np.int64).reshape(-1, 5).T)
    follower = Follower()
    follower.add(moves.take(slice(0, cut)))
    known_ns = follower.forget(before, most)
    kept = follower.runs().table.shape[1]
    assert kept <= most
    follower.add(moves.take(slice(cut, None)))
    left, every = rows(follower.runs()), rows(runs_of(moves))
    assert left <= every
    assert all(row[3] <= known_ns for row in every - left)
    assert known_ns < before or kept == most or not known_ns


def test_what_a_thread_did_after_its_waking_is_found_after_others_were_forgotten() -> None:
    follower = Follower()
    follower.add(moves_of(woken(1), runs(2), leaves(3, SLEEP), woken(4), runs(5)))
    follower.forget(before_ns=3, most=99)
    others = [move for at in range(7, 99, 2) for move in (leaves(at, PREEMPT, OTHER), runs(at + 1, OTHER))]
    follower.add(moves_of(kick(6), *others))  # so many that they need more room
    found = follower.runs()
    assert found.table[KICK_NS, found.first[1] : found.first[2]].tolist() == [6]
