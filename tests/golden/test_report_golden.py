"""What reports look like. VIO_REGENERATE=1 rewrites the expected files: read the difference before keeping it."""

import os
from pathlib import Path

import pytest
from tests.builders import START_NS, a_quality, a_recorded, a_writeback, an_io_table, some_waits

from vio.layer import Layer, Stage
from vio.losses import Loss
from vio.manifest import AbsentPoint
from vio.reporter.choice import Filter
from vio.reporter.machine import render_json
from vio.reporter.result import IoRow, Report, number_in, rows_of
from vio.reporter.slowest import Notable
from vio.reporter.spans import hulls
from vio.reporter.summary import Summary
from vio.reporter.text import render_text
from vio.reporter.timeline import render_timeline
from vio.reporter.waits import Wait

HERE = Path(__file__).parent
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")


def a_report(*, is_faulty: bool) -> Report:
    table = an_io_table(2_000, seed=11, disks=2 if is_faulty else 1, unended=3 if is_faulty else 0)
    summary, notable = Summary(), Notable(5)
    summary.add(table)
    notable.add(table)
    losses = [Loss("buffer", "batches of cpu 1", 1_200, START_NS + SECOND, START_NS + 2 * SECOND)]
    absent = [
        AbsentPoint("fsync_xfs", Layer.FS, "no tracepoint", "the file system's own time in a flush, on xfs"),
        AbsentPoint("jbd2_end", Layer.FS, "no tracepoint", "which journal commit a flush waited for"),
    ]
    recorded = a_recorded(2, losses, absent) if is_faulty else a_recorded()
    writeback = a_writeback() if is_faulty else None
    waits = some_waits(1_997) if is_faulty else None
    given = a_quality(), Filter(), notable.slowest, notable.unended
    return Report(recorded, summary, *given, writeback=writeback, waits=waits)


def check(name: str, text: str) -> None:
    file = HERE / name
    if os.environ.get("VIO_REGENERATE"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{name} differs: VIO_REGENERATE=1 pytest tests/golden rewrites it"


@pytest.mark.parametrize("name", ["clean", "faulty"])
def test_text(name: str) -> None:
    check(f"report-{name}.txt", render_text(a_report(is_faulty=name == "faulty")))


@pytest.mark.parametrize("name", ["clean", "faulty"])
def test_json(name: str) -> None:
    check(f"report-{name}.json", render_json(a_report(is_faulty=name == "faulty")))


def test_timeline() -> None:
    recorded = a_recorded(stages=tuple(Stage))
    table = an_io_table(40, seed=12, stages=tuple(Stage))
    row = next(row for row in rows_of(table) if row["reached"] == len(Stage) - 1)
    row |= {"kick_ns": 41_000, "inject_ns": 7_000}
    waits = {Stage.QEMU_AIO: {Wait.RUNQUEUE: 1_200, Wait.STOPPED: 500, Wait.WAKEUP: 1_700}}
    check("timeline.txt", render_timeline(row, hulls(row, recorded), recorded, waits=waits))


def test_timeline_of_what_was_written_back() -> None:
    recorded = a_recorded(stages=tuple(Stage))
    table = an_io_table(40, seed=12, stages=tuple(Stage))
    row = min(rows_of(table), key=lambda row: number_in(row, "reached"))
    begin_ns = number_in(row, "begin_ns")
    later: list[IoRow] = [
        {
            "device": 259 << 20,
            "device_offset": (1 << 30) + part * 4096,
            "file_offset": part * 4096,
            "bytes": 4096,
            "queued_ns": begin_ns + SECOND,
            "issued_ns": begin_ns + SECOND + 2_000,
            "completed_ns": None if part else begin_ns + SECOND + 90_000,
            "caused_by": 77 if part else None,
        }
        for part in range(2)
    ]
    check("timeline-later.txt", render_timeline(row, hulls(row, recorded), recorded, later))
