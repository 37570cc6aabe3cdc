import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.reporter.buckets import BUCKETS, LARGEST, RELATIVE_ERROR, bucket_numbers
from vio.reporter.columns import values_of
from vio.reporter.histogram import Distribution
from vio.reporter.tally import tally_groups

TIMES = st.lists(st.integers(0, 2**52) | st.integers(0, 2000), min_size=1, max_size=300)
SHARES = [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0]


def distribution(times: list[int]) -> Distribution:
    result = Distribution()
    result.add(np.array(times, dtype=np.int64))
    return result


@given(TIMES)
def test_quantiles_are_within_the_documented_error(times: list[int]) -> None:
    found = distribution(times).quantiles_ns(SHARES)

    exact = np.percentile(times, [100 * share for share in SHARES], method="inverted_cdf")
    assert (np.abs(found - exact) <= exact * RELATIVE_ERROR).all()


@given(st.lists(st.integers(0, 255), min_size=1))
def test_small_times_are_exact(times: list[int]) -> None:
    found = distribution(times).quantiles_ns(SHARES)

    assert list(found) == list(np.percentile(times, [100 * share for share in SHARES], method="inverted_cdf"))


@given(TIMES, TIMES)
def test_merging_is_counting_together(some: list[int], others: list[int]) -> None:
    merged = distribution(some)
    merged.merge(distribution(others))

    together = distribution(some + others)
    assert (merged.count, merged.total_ns, merged.max_ns) == (together.count, together.total_ns, together.max_ns)
    assert np.array_equal(merged.buckets, together.buckets)


@given(TIMES)
def test_count_sum_and_maximum_are_exact(times: list[int]) -> None:
    found = distribution(times)

    assert (found.count, found.total_ns, found.max_ns) == (len(times), sum(times), max(times))
    assert found.mean_ns == sum(times) / len(times)


def test_absent_values_are_not_counted() -> None:
    found = Distribution()
    sums = found.add_by_group(np.array([0, 9, 9, 7]), np.array([True, False, False, True]), np.array([0, 0, 1, 1]), 2)

    assert sums.tolist() == [0, 7]
    assert (found.count, found.total_ns) == (2, 7)
    assert found.buckets.sum() == 2
    assert list(found.quantiles_ns([0.5, 1.0])) == [0.0, 7.0]


@pytest.mark.parametrize("time_ns", [-1, 2**53 + 2])
def test_impossible_times_are_refused(time_ns: int) -> None:
    with pytest.raises(ValueError, match="beyond what can be measured"):
        distribution([5, time_ns])


def test_of_nothing_all_is_zero() -> None:
    assert (Distribution().mean_ns, Distribution().quantile_ns(0.5)) == (0.0, 0.0)


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-5, 1 << 54)), st.integers(0, 3))), st.integers(0, 9))
def test_groups_are_counted_as_distributions_of_their_own(rows: list[tuple[int | None, int]], before: int) -> None:
    padding: list[int | None] = [7] * before
    column = pa.array([*padding, *(value for value, _ in rows)], pa.int64())[before:]
    values, group = values_of(column), np.array([one for _, one in rows], dtype=np.int64)
    sums, buckets = np.zeros(4, np.int64), np.zeros((4, BUCKETS), np.int64)
    least, largest = tally_groups(values.all_ns, values.bits, values.first, group, sums, buckets)
    there = [(value, one) for value, one in rows if value is not None]
    assert least == min([0, *(value for value, _ in there)])
    assert largest == max([0, *(value for value, _ in there)])
    for number in range(4):
        mine = [value for value, one in there if one == number]
        countable = np.array([value for value in mine if 0 <= value <= LARGEST], dtype=np.int64)
        assert sums[number] == sum(mine)
        assert buckets[number].tolist() == np.bincount(bucket_numbers(countable), minlength=BUCKETS).tolist()
