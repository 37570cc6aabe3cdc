"""The time of a layer among its parts: against a count of every nanosecond."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vio.reporter.partown import Intervals, divide

Interval = tuple[int, int, int]
INTERVALS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 12)), max_size=12)


def intervals(of: list[Interval]) -> Intervals:
    columns = np.array([(owner, start, start + length) for owner, start, length in of], dtype=np.int64).reshape(-1, 3)
    return Intervals(columns[:, 0], columns[:, 1], columns[:, 2])


def owned_ns(layer: list[Interval], below: list[Interval], owner: int) -> set[int]:
    covered = {ns for who, start, length in layer + below for ns in range(start, start + length) if who == owner}
    return covered - {ns for who, start, length in below for ns in range(start, start + length) if who == owner}


@settings(deadline=None)
@given(INTERVALS, INTERVALS, INTERVALS)
def test_each_ns_goes_to_the_part_that_began_last(
    parts: list[Interval], layer: list[Interval], below: list[Interval]
) -> None:
    own = divide(intervals(parts), intervals(layer + below), intervals(below)).tolist()
    for owner in range(3):
        expected = 0
        for ns in owned_ns(layer, below, owner):
            running = [part for part in parts if part[0] == owner and part[1] <= ns < part[1] + part[2]]
            expected += bool(running)
            if running:
                latest = max(start for _, start, _ in running)
                mine = [time for time, part in zip(own, parts, strict=True) if part[0] == owner and part[1] == latest]
                assert sum(mine) > 0
        assert sum(time for time, part in zip(own, parts, strict=True) if part[0] == owner) == expected


def test_nested_parts_take_time_from_those_around_them() -> None:
    parts = intervals([(0, 10, 80), (0, 20, 30), (0, 25, 10), (0, 60, 10)])
    own = divide(parts, intervals([(0, 0, 100)]), intervals([(0, 65, 20)]))
    # the last 5 ns of the part at 60, and 15 ns of the first, belong to the layer below
    assert own.tolist() == [80 - 30 - 5 - 20, 20, 10, 5]


def test_of_two_that_overlap_the_later_has_the_time() -> None:
    own = divide(intervals([(0, 0, 20), (0, 10, 20)]), intervals([(0, 0, 100)]), intervals([]))
    assert own.tolist() == [10, 20]
