"""A real recording of threads that were kept from running: tests/data/sched.vio (made by make_sched.py).

truth.json beside it is from a trace of the iothread's own, which is read in another way (lab/truth/sched.py).
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lab.truth.attribution import Lives, overlap_ns
from tests.samples import ios_of

from vio.layer import Phase, Stage
from vio.losses import Loss, LossKind, losses_table
from vio.recording import LOSSES_FILE, Recording
from vio.reporter import stream, waits
from vio.reporter.choice import Filter
from vio.reporter.machine import to_json
from vio.reporter.report import ReportOptions, report, timeline
from vio.reporter.stream import Join
from vio.reporter.text import render_text
from vio.reporter.waits import Wait
from vio.schema import time_column

SCHED = Path(__file__).parents[1] / "data" / "sched.vio"
NATIVE, THREADS = 0, 1
EXACT_NS = 3_000  # of one delay: the kernel's text has microseconds
Spans = list[tuple[int, int]]


@pytest.fixture(scope="module")
def ios() -> pa.Table:
    return ios_of(SCHED)


@pytest.fixture(scope="module")
def truth() -> dict[str, object]:
    return cast(dict[str, object], json.loads((SCHED / "truth.json").read_text()))


def of_disk(ios: pa.Table, disk: int) -> pa.Table:
    return ios.filter(pc.equal(ios["disk"], disk))


def shared_ns(begin_ns: np.ndarray, end_ns: np.ndarray, spans: Spans) -> np.ndarray:
    return overlap_ns(Lives(begin_ns, end_ns, np.zeros((begin_ns.size, 0), np.int64)), spans)


def test_waiting_for_a_cpu_is_what_the_scheduler_says(ios: pa.Table, truth: dict[str, object]) -> None:
    mine = of_disk(ios, NATIVE)
    delays = [(int(a), int(b)) for a, b in cast(list[list[int]], truth["delays"])]
    at = {name: mine[f"t_{name}_ns"].to_numpy() for name in ("accept", "rq_issue", "vfs_end", "notify")}
    # between these the kernel and the device are at work, for whom nobody's turn matters
    down_ns, up_ns = shared_ns(at["accept"], at["rq_issue"], delays), shared_ns(at["vfs_end"], at["notify"], delays)
    waited_ns = mine["runqueue_ns"].to_numpy()
    error_ns = np.abs(waited_ns - down_ns - up_ns)
    # of each event there are two records, and a virtual machine may be paused between them
    assert np.median(error_ns) < EXACT_NS
    assert np.quantile(error_ns, 0.9) < 10 * EXACT_NS
    assert waited_ns.sum() > 5_000_000


def test_a_stopped_qemu_shows_in_the_ios_in_flight(ios: pa.Table, truth: dict[str, object]) -> None:
    stops = [(int(a), int(b)) for a, b in cast(list[list[int]], truth["stopped"])]
    begin_ns, stopped_ns = ios["begin_ns"].to_numpy(), ios["stopped_ns"].to_numpy()
    meanwhile_ns = shared_ns(begin_ns, begin_ns + ios["latency_ns"].to_numpy(), stops)
    assert stopped_ns.max() > 0.8 * (stops[0][1] - stops[0][0])
    # a thread that waits for the hog stops, and goes on, a little after it is told to
    assert (stopped_ns <= meanwhile_ns + 5_000_000).all()
    assert not stopped_ns[meanwhile_ns == 0].any()


def test_waits_are_parts_of_the_stages_own_times() -> None:
    join = Join(Recording.open(SCHED))
    for table in join.tables():
        found = join.waits
        assert found is not None
        for place, stage in enumerate(Stage):
            own = sum(pc.fill_null(table[time_column(stage, phase)], 0).to_numpy() for phase in Phase)
            running, stopped, waking = found.within[:, place]
            assert (running >= 0).all()
            assert (running + stopped <= own).all(), stage
            assert (waking <= own).all(), stage
        for number, wait in enumerate(waits.WITHIN):
            assert found.within[number].sum(axis=0).tolist() == table[wait.column].to_pylist()


def test_the_kick_is_before_the_begin(ios: pa.Table) -> None:
    kicks = ios[Wait.KICK.column]
    assert kicks.null_count < ios.num_rows / 2
    assert pc.min(kicks).as_py() > 0
    assert ios[Wait.INJECT.column].null_count == ios.num_rows, "TCG has no KVM"


def test_workers_are_woken_to_take_requests() -> None:
    join = Join(Recording.open(SCHED))
    stages = dict.fromkeys(Stage, 0)
    for table in join.tables():
        is_mine = pc.equal(table["disk"], THREADS).to_numpy()
        assert join.waits is not None
        for place, stage in enumerate(Stage):
            stages[stage] += int(np.count_nonzero(join.waits.within[2, place, is_mine]))
    assert stages[Stage.QEMU_AIO] > 50
    assert stages[Stage.FS] > 50


def test_windows_make_no_difference(ios: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WINDOW", 200)
    assert ios_of(SCHED).equals(ios)


def test_what_was_forgotten_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WINDOW", 200)
    monkeypatch.setattr(waits, "_MOST_KEPT", 20)
    assert ios_of(SCHED)["runqueue_ns"].null_count > 0


def test_where_events_were_lost_nothing_is_said(ios: pa.Table, tmp_path: Path) -> None:
    damaged = tmp_path / "lost.vio"
    shutil.copytree(SCHED, damaged)
    from_ns = int(ios["begin_ns"][50].as_py())
    lost = Loss(LossKind.BUFFER, "trace buffer cpu0", 7, from_ns, from_ns + 100_000_000)
    pq.write_table(losses_table([lost]), damaged / LOSSES_FILE)
    blind = ios_of(damaged)
    end_ns = pc.add(blind["begin_ns"], blind["latency_ns"]).to_numpy()
    is_blind = (blind["begin_ns"].to_numpy() <= lost.to_ns) & (end_ns >= lost.from_ns)
    assert 0 < is_blind.sum() < blind.num_rows
    for wait in Wait:
        assert blind[wait.column].is_null().to_numpy()[is_blind].all()
    assert (blind["runqueue_ns"].is_valid().to_numpy() == ~is_blind).all()


def test_the_report_has_them(ios: pa.Table) -> None:
    options = ReportOptions(is_table_written=False)
    found = report(SCHED, options)
    text = render_text(found)
    assert all(words in text for words in ("for a CPU", "\nstopped", "to wake up", "kick to take"))
    total = {(one["wait"], one["stage"]): one for one in cast(list[dict[str, object]], to_json(found)["waits"])}
    assert total["runqueue", None]["count"] == pc.sum(pc.greater(ios["runqueue_ns"], 0)).as_py()
    assert total["runqueue", None]["max_ns"] == pc.max(ios["runqueue_ns"]).as_py()
    assert total["kick", None]["time_share"] is None
    some = report(SCHED, replace(options, choice=Filter(disks=("virtio1",)))).waits
    assert some is not None
    mine = of_disk(ios, THREADS)
    assert some.known_count == mine.num_rows
    for wait in (Wait.RUNQUEUE, Wait.WAKEUP, Wait.KICK):
        assert some.by_place[wait, None].total_ns == pc.sum(mine[wait.column]).as_py()


def test_one_io_says_what_it_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ios.parquet"
    report(SCHED, ReportOptions(table_path=path))
    table = pq.read_table(path)
    longest = table["io"][int(np.argmax(table["stopped_ns"].to_numpy()))].as_py()
    text = timeline(SCHED, longest)
    assert re.search(r"qemu-aio .* is stopped [\d,.]+", text)
    kicked = table["io"][int(np.argmax(table["kick_ns"].fill_null(0).to_numpy()))].as_py()
    assert "after the guest's kick woke the thread" in timeline(SCHED, kicked)
