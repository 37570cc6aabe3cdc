from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import START_NS, a_recorded, an_io_table

from vio.errors import UsageError
from vio.layer import Op, Phase, Stage
from vio.reporter.choice import Chooser, Filter
from vio.reporter.slowest import Notable
from vio.reporter.summary import Summary
from vio.schema import LACKS, OPS, time_column


def summary_of(*tables: pa.Table) -> Summary:
    summary = Summary()
    for table in tables:
        summary.add(table)
    return summary


@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_shares_add_up_to_one(seed: int, count: int, disks: int) -> None:
    summary = summary_of(an_io_table(count, seed, disks=disks))

    shares = sum(summary.share(part) for part in summary.phases.values()) + summary.share(summary.unattributed)
    assert shares == pytest.approx(1.0)
    assert summary.total_ns == summary.total().latency.total_ns


def test_figures_of_a_stage_are_those_of_numpy() -> None:
    table = an_io_table(5_000, seed=4, unended=7)
    summary = summary_of(table)

    for (stage, phase), part in summary.phases.items():
        times = table[time_column(stage, phase)].drop_null().to_numpy()
        assert (part.count, part.total_ns, part.max_ns) == (times.size, times.sum(), times.max())
        exact = np.percentile(times, [50, 99], method="inverted_cdf")
        assert part.quantiles_ns([0.5, 0.99]) == pytest.approx(exact, rel=0.01)


def test_a_stage_takes_its_phases_together() -> None:
    table = an_io_table(3_000, seed=5)
    names = [time_column(Stage.FS, phase) for phase in Phase]
    whole = sum(table[name].drop_null().to_numpy() for name in names)

    part = summary_of(table).stages[Stage.FS]
    assert (part.count, part.total_ns, part.max_ns) == (whole.size, whole.sum(), whole.max())


def test_phases_that_are_null_in_different_ios_are_counted_apart() -> None:
    table = an_io_table(100, stages=(Stage.QEMU_BLOCK,))
    down, up = time_column(Stage.QEMU_BLOCK, Phase.DOWN), time_column(Stage.QEMU_BLOCK, Phase.UP)
    half = pa.array(np.arange(100) % 2 == 0)
    table = with_column(table, down, pc.if_else(half, 5, None))
    table = with_column(table, up, pc.if_else(half, None, 3))
    table = with_column(table, time_column(Stage.QEMU_BLOCK, Phase.BETWEEN), pa.nulls(100))

    summary = summary_of(table)
    assert summary.phases[Stage.QEMU_BLOCK, Phase.DOWN].count == 50
    assert summary.stages[Stage.QEMU_BLOCK].count == 100
    assert (Stage.QEMU_BLOCK, Phase.BETWEEN) not in summary.phases
    assert summary.stages[Stage.QEMU_BLOCK].total_ns == 50 * 5 + 50 * 3


def test_windows_make_no_difference() -> None:
    table = an_io_table(5_000, seed=6, disks=2, unended=3)

    whole = summary_of(table)
    parts = summary_of(table.slice(0, 17), table.slice(17, 0), table.slice(17))
    assert parts.lacks == whole.lacks
    for key, group in whole.groups.items():
        other = parts.groups[key]
        assert (other.io_count, other.whole_count, other.bytes) == (group.io_count, group.whole_count, group.bytes)
        assert np.array_equal(other.times_ns, group.times_ns)
        assert np.array_equal(other.reached, group.reached)
        assert np.array_equal(other.latency.buckets, group.latency.buckets)


def test_groups_are_those_of_the_table() -> None:
    table = an_io_table(2_000, seed=7, disks=3, unended=2)
    summary = summary_of(table)

    for op, group in summary.by_op().items():
        rows = table.filter(pc.equal(table["op"], OPS.index(op)))
        assert group.io_count == rows.num_rows
        assert group.bytes == pc.sum(rows["bytes"]).as_py()
        assert group.whole_count == pc.sum(rows["is_whole"]).as_py()
        assert group.latency.count == rows.num_rows - rows["latency_ns"].null_count
        assert group.times_ns[4, 0] == pc.sum(rows["fs_down_ns"]).as_py()
        assert group.reached[4] == rows.num_rows - rows["fs_down_ns"].null_count
    assert set(summary.by_disk()) == {0, 1, 2}
    assert summary.total().unended_count == 2


def test_lacks_are_counted_by_bit() -> None:
    table = with_column(an_io_table(3), "lack", pa.array([0, 1 | 64, 64], pa.uint16()))

    assert summary_of(table).lacks == {LACKS[1]: 1, LACKS[64]: 2}


def test_a_negative_time_is_a_fault() -> None:
    table = with_column(an_io_table(3), "fs_down_ns", pa.array([1, -5, 2]))

    with pytest.raises(ValueError, match="-5 ns"):
        summary_of(table)


def test_an_empty_table_counts_nothing() -> None:
    summary = summary_of(an_io_table(3).slice(0, 0))

    assert (summary.groups, summary.total_ns, summary.total().io_count) == ({}, 0, 0)


@pytest.mark.parametrize("cuts", [(), (100,), (5, 10, 400)])
def test_the_slowest_are_the_slowest(cuts: tuple[int, ...]) -> None:
    table = an_io_table(500, seed=8, unended=4)
    notable = Notable(6)
    bounds = [0, *cuts, 500]
    for first, last in pairwise(bounds):
        notable.add(table.slice(first, last - first))

    expected = table.filter(table["latency_ns"].is_valid()).sort_by([("latency_ns", "descending"), ("io", "ascending")])
    assert notable.slowest["io"].to_pylist() == expected["io"].to_pylist()[:6]
    assert notable.unended["io"].to_pylist() == [496, 497, 498, 499]


def test_few_or_no_slowest() -> None:
    for limit, count in ((0, 5), (10, 5)):
        notable = Notable(limit)
        notable.add(an_io_table(count))
        assert notable.slowest.num_rows == min(limit, count)


def test_a_filter_takes_what_it_says() -> None:
    table = an_io_table(1_000, seed=9, disks=2)
    recorded = a_recorded(disks=2)
    choice = Filter((Op.WRITE, Op.FLUSH), ("vdb",), (0.005, 0.01))

    chosen = Chooser(choice, recorded).choose(table)

    begin = table["begin_ns"].to_numpy() - START_NS
    wanted = np.isin(table["op"].to_numpy(), [1, 2]) & (table["disk"].to_numpy() == 1)
    wanted &= (begin >= 5_000_000) & (begin < 10_000_000)
    assert chosen.num_rows > 0
    assert chosen["io"].to_pylist() == np.flatnonzero(wanted).tolist()
    assert choice.words == "operation write, flush; disk vdb; begun between 0.005 s and 0.01 s"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Filter(disks=("vdz",)), "no disk vdz: it has: vda"),
        (Filter(between_s=(3.0, 2.0)), "first must be less"),
        (Filter(between_s=(-1.0, 2.0)), "not negative"),
        (Filter(between_s=(float("nan"), 2.0)), "first must be less"),
    ],
)
def test_an_impossible_filter_is_refused(choice: Filter, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Chooser(choice, a_recorded())


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.schema.field(name), pc.cast(values, table.schema.field(name).type))
