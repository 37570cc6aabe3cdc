"""The arithmetic of the truth tests, and their readers of what others say."""

import json

import numpy as np
import pytest
from lab.guest import GuestError
from lab.initramfs import REPOSITORY
from lab.load import FioJob
from lab.truth.attribution import CELLS, UNATTRIBUTED, Lives, attribute, cell, cells_of, less, overlap_ns
from lab.truth.injections import INJECTIONS
from lab.truth.play import Play, all_longer_by, longer_by, longest_by
from lab.truth.sched import delays_of, lock_waits_of
from lab.truth.shell import Latency, fio_run, fio_words
from lab.truth.table import expectations
from lab.witness import TIMES

from vio.layer import Op, Phase, Stage

DEVICE = cell(Stage.DEVICE, Phase.BETWEEN)
AIO_UP = cell(Stage.QEMU_AIO, Phase.UP)


def lives(*rows: tuple[int, dict[str, int]]) -> Lives:
    """Build IOs from their begins and own times."""
    own = np.zeros((len(rows), len(CELLS)), dtype=np.int64)
    for number, (_, times) in enumerate(rows):
        for name, value in times.items():
            own[number, CELLS.index(name)] = value
    begin = np.array([at for at, _ in rows], dtype=np.int64)
    return Lives(begin, begin + own.sum(axis=1), own)


BASE = lives((0, {DEVICE: 10}), (100, {DEVICE: 30}))


def test_the_cells_are_the_columns_of_the_report() -> None:
    assert len(CELLS) == len(TIMES)
    assert CELLS[-1] == UNATTRIBUTED
    assert CELLS[: len(Phase)] == cells_of(next(iter(Stage)))


def test_a_delay_in_its_place_is_attributed_whole() -> None:
    touched = lives((1000, {DEVICE: 120}), (2000, {DEVICE: 120}))
    judged = attribute(BASE, touched, 200, (DEVICE,))
    assert (judged.attribution, judged.spill, judged.added_ns) == (1.0, 0.0, 200)
    assert judged.is_met


def test_a_delay_in_another_place_is_spilt() -> None:
    judged = attribute(BASE, lives((1000, {DEVICE: 20, AIO_UP: 100})), 100, (DEVICE,))
    assert (judged.attribution, judged.spill) == (0.0, 1.0)
    assert judged.largest == (AIO_UP, 1.0)
    assert not judged.is_met


def test_what_one_place_gains_and_another_loses_does_not_cancel() -> None:
    base = lives((0, {DEVICE: 50, AIO_UP: 0, UNATTRIBUTED: 50}))
    touched = lives((1000, {DEVICE: 150, AIO_UP: 10, UNATTRIBUTED: 40}))
    judged = attribute(base, touched, 100, (DEVICE,))
    assert judged.attribution == 1.0
    assert judged.spill == pytest.approx(0.2)
    assert not judged.is_met


def test_too_much_is_not_right_either() -> None:
    assert not attribute(BASE, lives((1000, {DEVICE: 20 + 110})), 100, (DEVICE,)).is_met


def test_one_stall_does_not_count_where_each_io_is_delayed() -> None:
    touched = lives(*((at, {DEVICE: 120}) for at in range(4)), (9, {DEVICE: 120, AIO_UP: 9000}))
    judged = attribute(BASE, touched, 500, (DEVICE,), is_each=True)
    assert (judged.attribution, judged.spill) == (1.0, 0.0)


def test_where_nothing_is_expected_every_change_counts() -> None:
    judged = attribute(BASE, lives((1000, {DEVICE: 22})), 100, ())
    assert judged.attribution == pytest.approx(0.98)
    assert judged.is_met


@pytest.mark.parametrize(("base", "touched", "injected_ns"), [(lives(), BASE, 1), (BASE, lives(), 1), (BASE, BASE, 0)])
def test_nothing_to_compare_is_an_error(base: Lives, touched: Lives, injected_ns: int) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        attribute(base, touched, injected_ns, (DEVICE,))


def test_ios_are_chosen_by_their_life() -> None:
    ios = lives((0, {DEVICE: 10}), (20, {DEVICE: 10}), (40, {DEVICE: 10}))
    assert ios.within(0, 30).begin_ns.tolist() == [0, 20]
    assert ios.across(25, 45).begin_ns.tolist() == [20, 40]


def test_delays_count_for_each_io_under_way() -> None:
    ios = lives((0, {DEVICE: 10}), (5, {DEVICE: 10}))
    assert overlap_ns(ios, [(8, 12), (14, 100)]).tolist() == [2 + 0, 4 + 1]


def test_a_delay_behind_which_something_works_is_none() -> None:
    assert less([(0, 10), (20, 30)], [(2, 4), (8, 22), (40, 50)]) == ((0, 2), (4, 8), (22, 30))
    assert less([(0, 10)], []) == ((0, 10),)
    assert less([(3, 5)], [(0, 10)]) == ()


def test_a_play_is_judged_by_its_spans() -> None:
    ms = 1_000_000
    ios = lives((0, {DEVICE: ms}), (2 * ms, {DEVICE: ms}), (4 * ms, {DEVICE: 6 * ms}), (11 * ms, {DEVICE: ms}))
    judged = Play(0, (Op.READ,), (0, 3 * ms), (4 * ms, 12 * ms), ((5 * ms, 10 * ms),)).judge(ios, (DEVICE,))
    assert (judged.injected_ns, judged.base_count, judged.touched_count) == (5 * ms, 2, 1)
    assert judged.attribution == 1.0


def test_fio_says_how_much_longer() -> None:
    base, slow = Latency(100, 12.0, 10.0, 50), Latency(20, 30.0, 29.0, 400)
    assert longer_by(base, slow) == 19
    assert all_longer_by(base, slow) == 400
    assert longest_by(base, slow) == 390


def test_fio_is_read_from_a_console() -> None:
    one = {"lat_ns": {"N": 3, "mean": 1.5, "max": 2}, "clat_ns": {"percentile": {"50.000000": 1}}}
    text = "noise\r\n" + json.dumps({"jobs": [{"read": one, "write": {"lat_ns": {}}, "sync": one}]}) + "\r\nmore"
    run = fio_run(text, 1, 2)
    assert run.read == Latency(3, 1.5, 1.0, 2)
    assert run.write.count == 0
    with pytest.raises(GuestError, match="no result"):
        fio_run("fio: failed", 1, 2)


def test_options_stand_instead_of_the_job_s_own() -> None:
    words = fio_words(FioJob("write", 4), {"rw": "write:60k", "filename": "/dev/vdb"})
    assert "--rw=write:60k" in words
    assert "--filename=/dev/vdb" in words
    assert not any(word in words for word in ("--rw=write", "--filename=/dev/vda"))


def test_delays_of_a_thread_are_read_from_the_kernel_s_trace() -> None:
    switch = "prev_comm=a prev_pid={} prev_prio=120 prev_state={} ==> next_comm=b next_pid={} next_prio=120"
    lines = [
        "# tracer: nop",
        "  x-1 [0] d.. 1.000000: sched_waking: comm=b pid=7 prio=120 target_cpu=000",
        "  x-1 [0] d.. 1.000300: sched_switch: " + switch.format(1, "R", 7),
        "  b-7 [0] d.. 1.000900: sched_switch: " + switch.format(7, "R+", 1),
        "  x-1 [0] d.. 1.001000: sched_switch: " + switch.format(1, "S", 7),
        "  b-7 [0] d.. 1.001100: sched_switch: " + switch.format(7, "S", 1),
        "  x-1 [0] d.. 1.005000: sched_waking: comm=b pid=7 prio=120 target_cpu=000",
    ]
    assert delays_of(lines, 7) == [(1_000_000_000, 1_000_300_000), (1_000_900_000, 1_001_000_000)]


def test_long_waits_for_locks_are_read_from_the_kernel_s_trace() -> None:
    lines = [
        "  q-7 [0] d.. 1.000000: contention_begin: 00000000e541cb24 (flags=READ)",
        "  q-7 [0] d.. 1.000100: contention_begin: 000000001528ae28 (flags=SPIN)",
        "  q-7 [0] d.. 1.000101: contention_end: 000000001528ae28 (ret=0)",
        "  q-7 [0] d.. 1.200000: contention_end: 00000000e541cb24 (ret=0)",
    ]
    assert lock_waits_of(lines) == [(1_000_000_000, 1_200_000_000)]


def test_the_page_says_what_is_expected() -> None:
    page = (REPOSITORY / "docs" / "truth.md").read_text(encoding="utf-8")
    assert expectations(INJECTIONS) in page, "docs/truth.md is stale: take the first table that `make truth` prints"


def test_injections_have_names_of_their_own_and_places_that_exist() -> None:
    names = [one.name for one in INJECTIONS]
    assert len(set(names)) == len(names)
    assert all(set(one.expected) <= set(CELLS) for one in INJECTIONS)
