import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lab.shiftrun import shifted
from scipy import stats
from tests.runs import DEVICE, INFO, a_run, a_sketch, some_runs

from vio.comparer.compare import Loaded, compare_loaded
from vio.comparer.comparison import CompareExit, Comparison, Verdict, Word
from vio.comparer.depths import Depths
from vio.comparer.options import CompareOptions
from vio.comparer.run import LATENCY, WAITS, Key, Run, idle_times_ns
from vio.comparer.statistics import adjust_p, compare_units
from vio.comparer.whole import CPU_PER_IO, STOLEN, TARGET_CPU
from vio.errors import UsageError

DEFAULTS = CompareOptions()


def compared(base: Sequence[Run], new: Sequence[Run], options: CompareOptions = DEFAULTS) -> Comparison:
    return compare_loaded(Loaded(Path("base"), Path("new"), (base, new)), options)


def test_a_slower_device_is_found_and_named() -> None:
    found = compared(some_runs(1), some_runs(11, device_ns=1_000_000))
    (cell,) = found.cells
    assert found.verdict is Verdict.SLOWER
    assert found.exit_code() is CompareExit.SLOWER
    assert cell.mean.word is Word.SLOWER
    assert cell.mean.change == pytest.approx(0.1, abs=0.02)
    assert cell.mean.low is not None
    assert cell.mean.high is not None
    assert cell.mean.low < cell.mean.difference < cell.mean.high
    culprit = cell.culprit(cell.mean)
    assert culprit is not None
    assert culprit.name == "device"
    assert cell.parts[0] is culprit


def test_the_parts_add_up_to_the_change_of_the_mean() -> None:
    cell = compared(some_runs(1), some_runs(11, device_ns=950_000)).cells[0]
    assert sum(part.added_ns for part in cell.parts) == pytest.approx(cell.mean.difference, rel=1e-9)


def test_faster_is_no_failure() -> None:
    found = compared(some_runs(1), some_runs(11, device_ns=800_000))
    assert found.verdict is Verdict.FASTER
    assert found.exit_code(is_strict=True) is CompareExit.SAME_OR_BETTER


def test_the_same_is_claimed_only_where_repeats_agree() -> None:
    assert compared(some_runs(1), some_runs(11)).verdict is Verdict.SAME
    noisy = compared(some_runs(1, noise=0.2), some_runs(11, noise=0.2))
    assert noisy.verdict is Verdict.UNDECIDED
    assert noisy.exit_code() is CompareExit.SAME_OR_BETTER
    assert noisy.exit_code(is_strict=True) is CompareExit.UNDECIDED


def test_a_change_below_what_matters_is_not_slower() -> None:
    found = compared(some_runs(1, noise=0.001), some_runs(11, device_ns=920_000, noise=0.001))
    assert found.cells[0].mean.p is not None
    assert found.cells[0].mean.p < 0.001
    assert found.verdict is Verdict.SAME


def test_equal_sides_are_seldom_called_slower() -> None:
    alarms = 0
    for number in range(60):
        base, new = some_runs(100 * number, noise=0.1), some_runs(100 * number + 50, noise=0.1)
        cells = compared(base, new).cells
        rows = [row for cell in cells for row in (cell.total, *(part.figures for part in cell.parts))]
        alarms += any(figure.word is Word.SLOWER for row in rows for figure in row)
    assert alarms <= 2  # of 60 at 2 %, more come once in 8 000 times


def test_one_run_a_side_is_weak_and_decides_only_the_gross() -> None:
    found = compared([a_run(1)], [a_run(2, device_ns=1_100_000)])
    assert found.is_weak
    assert found.verdict is Verdict.UNDECIDED
    assert (
        compared([a_run(1)], [a_run(2, device_ns=1_100_000)], CompareOptions(run_noise=0.05)).verdict is Verdict.SLOWER
    )
    assert compared([a_run(1)], [a_run(2, device_ns=3_000_000)]).verdict is Verdict.SLOWER


def test_one_new_run_is_measured_by_the_spread_of_the_base() -> None:
    base = some_runs(1, count=10)
    found = compared(base, [a_run(50, device_ns=1_200_000)])
    assert not found.is_weak
    assert found.verdict is Verdict.SLOWER


def test_quantiles_without_ios_enough_are_refused() -> None:
    total = compared(some_runs(1), some_runs(11)).cells[0].total
    assert [figure.word is Word.REFUSED for figure in total] == [False, False, False, False, True]
    assert total[-1].why.startswith("too few IOs")


def test_what_one_side_lacks_is_refused() -> None:
    found = compared(some_runs(1), [a_run(9, key=Key("vda", "write", 12)) for _ in range(3)])
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert found.exit_code() is CompareExit.NOT_COMPARABLE
    assert {cell.refused for cell in found.cells} == {"new has no such IO", "base has no such IO"}


def test_other_sizes_are_refused_unless_each_is_compared_by_itself() -> None:
    both = replace(a_run(1), blocks=a_run(1).blocks + a_run(2, key=Key("vda", "read", 16)).blocks)
    found = compared([a_run(3), a_run(4)], [both, both])
    assert found.cells[0].refused.startswith("the IOs are of other sizes")
    by_size = compared([a_run(3), a_run(4)], [both, both], CompareOptions(is_by_size=True))
    assert [(cell.size, bool(cell.refused)) for cell in by_size.cells] == [("4 KiB", False), ("64 KiB", True)]


def test_a_layer_that_one_side_did_not_see_is_refused() -> None:
    blind = replace(INFO, layers=("block", "fs", "qemu-aio", "qemu-block", "vfs"))
    found = compared(some_runs(1), [a_run(n, info=blind) for n in range(11, 16)])
    device = next(part for part in found.cells[0].parts if part.name == "device")
    assert {figure.word for figure in device.figures} == {Word.REFUSED}
    assert any(doubt.what == "layers seen" for doubt in found.doubts)


def test_what_differs_is_said() -> None:
    other = replace(INFO, kernel="6.12", lost=7, is_cut=True, whole_share=0.5)
    doubts = {doubt.what: doubt for doubt in compared(some_runs(1), [a_run(9, info=other)]).doubts}
    assert (doubts["kernel"].base, doubts["kernel"].new) == ("6.1", "6.12")
    assert {"records lost", "cut short", "IOs not whole"} <= doubts.keys()


def test_another_load_is_said() -> None:
    one = a_run(1)
    half = 10**9 // 2
    blocks = [replace(block, begin_ns=at * half, end_ns=(at + 1) * half) for at, block in enumerate(one.blocks)]
    doubts = {doubt.what: doubt for doubt in compared(some_runs(1), [replace(one, blocks=tuple(blocks))] * 3).doubts}
    assert (doubts["vda read: IOs/s"].base, doubts["vda read: IOs/s"].new) == ("200", "400")
    assert (doubts["vda read: in flight"].base, doubts["vda read: in flight"].new) == ("0.2", "0.4")


def test_a_host_that_waits_for_a_cpu_is_said() -> None:
    def waiting(run: Run) -> Run:
        blocks = []
        for block in run.blocks:
            tallies = {
                key: replace(one, rows=one.rows | {WAITS[0]: one.rows[DEVICE]}) for key, one in block.tallies.items()
            }
            blocks.append(replace(block, tallies=tallies))
        return replace(run, blocks=tuple(blocks))

    doubts = {doubt.what: doubt for doubt in compared(some_runs(1), [waiting(one) for one in some_runs(11)]).doubts}
    waits = doubts["vda read: waiting for a CPU"]
    assert (waits.base, waits.new) == ("0% of the mean", "90% of the mean")


def test_what_a_guest_reads_while_it_boots_is_no_time_of_its_load() -> None:
    # ten blocks of a second each; but the first has begun two minutes earlier, and the last lasts five seconds
    bounds = [(at * 10**9, (at + 1) * 10**9) for at in range(10)]
    bounds[0], bounds[9] = (-120 * 10**9, bounds[0][1]), (bounds[9][0], bounds[9][0] + 5 * 10**9)
    assert idle_times_ns(bounds) == [120 * 10**9, *[0] * 8, 4 * 10**9]
    assert idle_times_ns(bounds[:2]) == [0, 0]
    assert idle_times_ns(bounds[:1]) == [0]
    booted = a_run(1)
    first = replace(booted.blocks[0], begin_ns=bounds[0][0], idle_ns=120 * 10**9)
    late = replace(booted, blocks=(first, *booted.blocks[1:]))
    assert late.whole().active_s == booted.whole().active_s


def test_the_cpu_time_of_qemu_is_beside() -> None:
    new = [
        replace(one, info=replace(one.info, target_cpu_s=cpu_s))
        for one, cpu_s in zip(some_runs(11), range(5), strict=True)
    ]
    base = [replace(one, info=replace(one.info, target_cpu_s=1.0)) for one in some_runs(1)]
    beside = {one.name: one for one in compared(base, new).beside}
    assert (beside[TARGET_CPU].base, beside[TARGET_CPU].new) == (0.1, 0.2)
    assert (beside[CPU_PER_IO].base, beside[CPU_PER_IO].new) == (500.0, 1000.0)
    assert TARGET_CPU not in {one.name for one in compared(some_runs(1), new).beside}


def test_cpu_time_that_was_withheld_is_told() -> None:
    base, new = (
        [replace(one, info=replace(one.info, stolen_share=share)) for one in some_runs(n)]
        for n, share in ((1, 0.01), (11, 0.15))
    )
    found = compared(base, new)
    withheld = next(one for one in found.beside if one.name == STOLEN)
    assert (withheld.base, withheld.new) == pytest.approx((0.01, 0.15))
    doubt = next(one for one in found.doubts if "withheld" in one.what)
    assert doubt.base == "-"
    assert doubt.new.count("15%") == 5


@pytest.mark.parametrize(
    ("share", "verdict"), [(None, Verdict.SLOWER), (0.04, Verdict.SLOWER), (0.2, Verdict.UNDECIDED)]
)
def test_of_a_single_run_that_was_disturbed_nothing_is_said(share: float | None, verdict: Verdict) -> None:
    new = [a_run(2, device_ns=9_000_000, info=replace(INFO, stolen_share=share))]
    found = compared([a_run(1)], new)
    assert found.verdict is verdict
    assert (found.cells[0].mean.word is Word.SLOWER) is (verdict is Verdict.SLOWER)


def test_the_only_disks_are_compared_whatever_their_names() -> None:
    found = compared(some_runs(1), [a_run(n, key=Key("vdb", "read", 12)) for n in range(11, 16)])
    assert found.verdict is Verdict.SAME
    assert found.doubts[0].what == "the only disk"


def test_a_rule_decides_alone() -> None:
    base, new = some_runs(1), some_runs(11, device_ns=1_000_000)
    broken = compared(base, new, CompareOptions(fail_on=("read.mean > 5%",)))
    assert broken.verdict is Verdict.SLOWER
    assert broken.rules[0].is_broken
    kept = compared(
        base, new, CompareOptions(fail_on=("vda.read.mean > 30%", "read.device.p50>30 %", "read.iops < -30%"))
    )
    assert kept.verdict is Verdict.SAME
    just_above = f"read.mean > {100 * (broken.cells[0].mean.change or 0) + 0.1:.2f}%"
    assert compared(base, new, CompareOptions(fail_on=(just_above,))).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("rule", ["read.p99", "read.p42 > 1%", "p99 > 1%", "read.mean > 10"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="is no rule"):
        compared(some_runs(1), some_runs(11), CompareOptions(fail_on=(rule,)))


def test_a_rule_about_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="names nothing"):
        compared(some_runs(1), some_runs(11), CompareOptions(fail_on=("write.mean > 1%",)))


def test_identical_runs_are_the_same() -> None:
    runs = [a_run(1)] * 3
    assert compared(runs, runs).verdict is Verdict.SAME


@pytest.mark.parametrize("is_log", [True, False])
@pytest.mark.parametrize(("base_count", "new_count"), [(5, 6), (2, 9), (3, 3), (1, 7), (8, 1)])
def test_the_tests_say_what_scipys_say(base_count: int, new_count: int, is_log: bool) -> None:
    draw = np.random.default_rng(base_count)
    level = 10.0 if is_log else 0.0
    base, new = draw.normal(level, 1, (base_count, 40)), draw.normal(level + 2, 1, (new_count, 40))
    base[0] = level - 1  # not above 0, or so it is
    margin = np.full(40, 1.5)
    tested = compare_units(base, new, margin, are_blocks=False)
    old, now, above, below = base, new, margin, -margin
    if is_log:
        old, now = np.log(base), np.log(new)
        above, below = np.log1p(margin / base.mean(axis=0)), np.log1p(-margin / base.mean(axis=0))
    is_pooled = min(base_count, new_count) == 1
    wanted = stats.ttest_ind(now, old, equal_var=is_pooled)
    agreed = (now.mean(axis=0) > old.mean(axis=0)) == (new.mean(axis=0) > base.mean(axis=0))
    assert tested.p == pytest.approx(np.where(agreed, wanted.pvalue, 1.0), rel=1e-9)
    ends = wanted.confidence_interval(0.95)
    low, high = (base.mean(axis=0) * np.expm1(end) if is_log else end for end in (ends.low, ends.high))
    assert tested.low == pytest.approx(low, rel=1e-9)
    assert tested.high == pytest.approx(high, rel=1e-9)
    less = stats.ttest_ind(now, old + above, equal_var=is_pooled, alternative="less").pvalue
    more = stats.ttest_ind(now, old + below, equal_var=is_pooled, alternative="greater").pvalue
    assert tested.p_same == pytest.approx(np.maximum(less, more), rel=1e-9)


def test_the_noise_of_a_slow_side_is_larger_and_hides_nothing() -> None:
    draw = np.random.default_rng(2)
    base, new = (level * np.exp(draw.normal(0, 0.5, (7, 1))) for level in (1.0, 6.0))
    tested = compare_units(base, new, np.full(1, 0.05), are_blocks=False)
    assert tested.p[0] < stats.ttest_ind(new, base, equal_var=False).pvalue[0] / 3
    assert tested.low[0] > 0


def test_where_logarithms_and_means_disagree_nothing_is_shown() -> None:
    base, new = np.full((6, 1), 10.0), np.full((6, 1), 9.0)
    base[0], new[0] = 10.1, 90.0
    new[1] = 9.1
    tested = compare_units(base, new, np.full(1, 0.5), are_blocks=False)
    assert tested.p[0] > 0.1


def test_holm_multiplies_by_what_is_left() -> None:
    adjusted = adjust_p(np.array([0.01, math.nan, 0.04, 0.03]))
    assert adjusted[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(adjusted[1])


def test_a_sketch_is_near_the_exact_quantiles() -> None:
    values = np.random.default_rng(1).lognormal(11, 2, 200_000).astype(np.int64)
    shares = (0.5, 0.9, 0.99, 0.999)
    wanted = np.quantile(values, shares, method="inverted_cdf")
    assert a_sketch(values).quantiles_ns(shares) == pytest.approx(wanted, rel=0.01)


def test_the_depth_counts_what_is_in_flight() -> None:
    ios = pa.table({"begin_ns": [0, 5, 20, 21], LATENCY: pa.array([10, 10, 5, None], pa.int64())})
    assert Depths.of([ios]).at(np.array([0, 5, 20, 21, 30])).tolist() == [1, 2, 1, 2, 1]


def test_each_depth_is_compared_by_itself_when_normalised() -> None:
    alone, deep = Key("vda", "read", 12, 0), Key("vda", "read", 12, 4)
    base = [a_run(number, key=alone) for number in range(1, 6)]
    found = compared(base, [a_run(n, key=deep) for n in range(11, 16)], CompareOptions(is_normalised=True))
    assert [(cell.size, bool(cell.refused)) for cell in found.cells] == [
        ("4 KiB, 1 in flight", True),
        ("4 KiB, 16 to 31 in flight", True),
    ]
    same = compared(base, [a_run(n, key=alone) for n in range(11, 16)], CompareOptions(is_normalised=True))
    assert same.verdict is Verdict.SAME


def test_shifted_runs_are_slower_by_what_was_added() -> None:
    one = a_run(1)
    slower = shifted(one, DEVICE, 0.1)
    before, after = (next(iter(run.whole().tallies.values())).rows for run in (one, slower))
    assert after[LATENCY].total_ns == pytest.approx(1.1 * before[LATENCY].total_ns, rel=1e-6)
    assert after[LATENCY].total_ns - before[LATENCY].total_ns == after[DEVICE].total_ns - before[DEVICE].total_ns
