"""What a recording says in the words of the load, and the difference of the two."""

import shutil
from pathlib import Path

import pytest

from vio.bencher.agreement import agreements
from vio.bencher.journal import Run
from vio.bencher.order import Phase, Side, Step
from vio.bencher.ours import told_by
from vio.bencher.witness import Told
from vio.reporter.iofile import io_tables
from vio.schema import OPS

DEMO = Path(__file__).parents[2] / "reporter/sample/demo.vio"


def test_every_io_that_ended_is_counted(tmp_path: Path) -> None:
    recording = shutil.copytree(DEMO, tmp_path / "demo.vio")
    told = {one.op: one for one in told_by(recording)}
    rows = [row for table in io_tables(recording, ("op", "latency_ns")) for row in table.to_pylist()]
    for op, one in told.items():
        latencies = [row["latency_ns"] for row in rows if OPS[row["op"]] == op and row["latency_ns"] is not None]
        assert one.count == len(latencies)
        assert one.mean_ns == pytest.approx(sum(latencies) / len(latencies))
    assert {"read", "write"} <= set(told)


def a_run(number: int, side: Side, told: float, ours: float) -> Run:
    both = ((Told("read", 10, 1.0, ours),), (Told("read", 10, None, told),))
    return Run(Step(Phase.AB, side, number), 0.0, 1.0, *both)


def test_agreement_is_of_the_figures_that_both_know() -> None:
    runs = [a_run(1, Side.A, 100.0, 80.0), a_run(2, Side.A, 300.0, 240.0), a_run(1, Side.B, 100.0, 100.0)]
    found = agreements(runs)
    assert [(one.side, one.figure) for one in found] == [
        (Side.A, "count"),
        (Side.A, "mean_ns"),
        (Side.B, "count"),
        (Side.B, "mean_ns"),
    ]
    assert [one.difference for one in found] == [0.0, pytest.approx(-0.2), 0.0, 0.0]


def test_without_a_witness_there_is_nothing_to_agree() -> None:
    assert agreements([Run(Step(Phase.AB, Side.A, 1), 0.0, 1.0, (Told("read", 1),))]) == ()
    assert agreements([]) == ()
