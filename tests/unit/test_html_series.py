"""What the page counts while the windows go by."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import START_NS, a_recorded, an_io_table

from vio.layer import Op, Stage
from vio.reporter.choice import Filter
from vio.reporter.html.axes import FIRST_ROW_NS, ROWS, TimeAxis, rows_of_times
from vio.reporter.html.flow import Sizes
from vio.reporter.html.heat import Heat, Places
from vio.reporter.html.series import ALL, Series
from vio.reporter.summary import Summary

TIMES = st.lists(st.tuples(st.integers(-50, 250), st.integers(0, 300)), max_size=20)


@pytest.mark.parametrize(
    ("between", "begin_s", "count", "width_ms"),
    [(None, 0, 200, 50), ((1.0, 3.0), 1, 200, 10), ((4.0, 2.0**32), 4, 120, 50), ((9.0, 99.0), 9, 200, 5)],
)
def test_columns_of_time_are_of_round_width(
    between: tuple[float, float] | None, begin_s: int, count: int, width_ms: int
) -> None:
    recorded = a_recorded()
    assert recorded.duration_s == 10
    axis = TimeAxis.of(recorded, Filter(between_s=between))
    assert (axis.begin_ns, axis.count, axis.width_ns) == (START_NS + begin_s * 10**9, count, width_ms * 10**6)


@given(TIMES)
def test_overlaps_are_what_counting_each_moment_gives(stretches: list[tuple[int, int]]) -> None:
    axis = TimeAxis(0, 10, 20)
    begins = np.array([begin for begin, _ in stretches], dtype=np.int64)
    ends = begins + np.array([length for _, length in stretches], dtype=np.int64)
    expected = np.zeros(200, dtype=np.int64)
    for begin, end in zip(begins, ends, strict=True):
        expected[max(begin, 0) : max(end, 0)] += 1
    assert axis.overlaps_ns(begins, ends).tolist() == expected.reshape(20, 10).sum(axis=1).tolist()


def test_rows_are_ten_to_a_decade_and_take_everything() -> None:
    times = np.array([0, 1, FIRST_ROW_NS, 10 * FIRST_ROW_NS, 1_000_000, 2**62])
    assert rows_of_times(times).tolist() == [0, 0, 0, 10, 40, ROWS - 1]


def test_cells_can_be_counted_again() -> None:
    heat = Heat.of(3)
    heat.add(np.array([0, 2, 2, 2]), np.array([100, 1_000, 1_000, 5_000]))
    pairs = np.array(heat.cells()).reshape(-1, 2)
    again = np.zeros(3 * ROWS, dtype=np.int64)
    again[np.cumsum(pairs[:, 0])] = pairs[:, 1]
    assert (again.reshape(3, ROWS) == heat.counts).all()


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=30))
def test_addresses_are_where_they_would_be_had_the_last_been_known_first(offsets: list[int]) -> None:
    places = Places()
    for offset in offsets:
        places.add(np.array([offset]), np.array([1_000]))
    expected = np.bincount(np.array(offsets) // places.width_bytes, minlength=places.heat.counts.shape[0])
    assert places.heat.counts.sum(axis=1).tolist() == expected.tolist()
    assert places.width_bytes == 4096 or max(offsets) // (places.width_bytes // 2) >= places.heat.counts.shape[0]


def test_a_length_is_of_the_power_of_two_that_holds_it() -> None:
    sizes = Sizes()
    lengths = np.array([0, 1, 512, 513, 4096, 4097, 2**62 + 1])
    sizes.add(lengths, np.full(lengths.size, 1_000))
    assert {number: part.count for number, part in sizes.classes.items()} == {0: 2, 9: 1, 10: 1, 12: 1, 13: 1, 62: 1}


def test_everything_that_was_chosen_is_counted_once() -> None:
    ios = pa.concat_tables([an_io_table(500, unended=7), an_io_table(300)])
    summary, series = Summary(), Series(a_recorded(), Filter())
    summary.add(ios)
    series.add(ios)
    total = summary.total()
    assert series.heats[ALL].counts.sum() == total.latency.count == 793
    for stage, part in summary.stages.items():
        assert series.heats[Stage(stage).value].counts.sum() == part.count
    assert {key: int(flow.count.sum()) for key, flow in series.flows.items()} == {
        key: group.io_count for key, group in summary.groups.items()
    }
    assert sum(int(flow.bytes.sum()) for flow in series.flows.values()) == total.bytes
    flushes = summary.by_op()[Op.FLUSH].latency.count
    assert sum(int(places.heat.counts.sum()) for places in series.places.values()) == 793 - flushes
    assert sum(part.count for sizes in series.sizes.values() for part in sizes.classes.values()) == 793 - flushes


def test_what_has_no_end_is_in_flight_until_the_recording_ends() -> None:
    recorded = a_recorded()
    series = Series(recorded, Filter())
    series.add(an_io_table(3, unended=3))
    assert sum(int(flow.in_flight_ns[-1]) for flow in series.flows.values()) == 3 * series.axis.width_ns
