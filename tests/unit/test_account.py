"""The division of time against a sweep, nanosecond by nanosecond."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vio.layer import Stage
from vio.reporter.account import PHASE_COUNT, STAGE_COUNT, account
from vio.reporter.paths import Spans

LENGTH = 12
SPAN = st.tuples(st.integers(0, STAGE_COUNT - 1), st.integers(0, LENGTH), st.integers(-1, LENGTH))
IOS = st.lists(st.lists(SPAN, max_size=7), min_size=1, max_size=4)


def spans_of(ios: list[list[tuple[int, int, int]]]) -> Spans:
    rows = [
        (number, stage, begin, end if end < 0 else max(begin, end))
        for number, spans in enumerate(ios)
        for stage, begin, end in [(0, 0, LENGTH), *spans]
    ]
    columns = np.array(rows, dtype=np.int64).T
    return Spans(*columns)


def swept(spans: list[tuple[int, int, int]]) -> np.ndarray:
    """Give each nanosecond to the deepest stage, and to the phase that the stages below it say."""
    own = np.zeros((STAGE_COUNT, PHASE_COUNT), dtype=np.int64)
    for moment in range(LENGTH):
        stage = max(s for s, b, e in spans if b <= moment < e)
        below = [(b, e) for s, b, e in spans if s > stage]
        if not below:
            phase = 1
        elif moment < min(b for b, _ in below):
            phase = 0
        elif moment >= max(e for _, e in below):
            phase = 2
        else:
            phase = 1
        own[stage, phase] += 1
    return own


@given(IOS)
@settings(max_examples=300)
def test_time_goes_to_the_deepest_stage_and_adds_up(ios: list[list[tuple[int, int, int]]]) -> None:
    closed = [[(s, b, max(b, e)) for s, b, e in io if e >= 0] for io in ios]
    count = len(closed)
    times = account(np.arange(LENGTH + 1), np.zeros(count, dtype=np.int64), np.full(count, LENGTH), spans_of(closed))
    assert (times.own_ns >= 0).all()
    assert (times.own_ns.sum(axis=(0, 1)) == LENGTH).all()
    for number, io in enumerate(closed):
        np.testing.assert_array_equal(times.own_ns[:, :, number], swept([(0, 0, LENGTH), *io]))


@given(IOS)
def test_spans_without_an_end_never_break_the_sum(ios: list[list[tuple[int, int, int]]]) -> None:
    count = len(ios)
    times = account(np.arange(LENGTH + 1), np.zeros(count, dtype=np.int64), np.full(count, LENGTH), spans_of(ios))
    assert (times.own_ns >= 0).all()
    assert (times.own_ns.sum(axis=(0, 1)) == LENGTH).all()


def test_a_lost_end_is_taken_to_be_the_end_of_the_stage_above() -> None:
    vfs, device = list(Stage).index(Stage.VFS), list(Stage).index(Stage.DEVICE)
    spans = spans_of([[(vfs, 2, 8), (device, 4, -1)]])
    times = account(np.arange(LENGTH + 1), np.array([0]), np.array([LENGTH]), spans)
    assert times.own_ns[device, 1, 0] == 4
    assert times.own_ns[0, 2, 0] == 4


def test_an_io_that_has_not_ended_has_no_times() -> None:
    times = account(np.arange(LENGTH + 1), np.array([0]), np.array([-1]), spans_of([[]]))
    assert times.own_ns.sum() == 0
