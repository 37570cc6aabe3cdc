"""The recording that ships with vio: what a report says of it, however its events are cut and stored."""

import os
from pathlib import Path

import pytest
from lab.demo import SAMPLE
from lab.witness import Findings, exact_count, examine
from tests.samples import ios_of, killed, with_late_events, without_a_guest

from vio.layer import Op, Stage
from vio.recording import Recording
from vio.reporter import stream
from vio.reporter.report import ReportOptions, report
from vio.reporter.text import render_text
from vio.schema import OPS

GOLDEN = Path(__file__).parent.parent / "golden" / "report-sample.txt"


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return examine(SAMPLE, tmp_path_factory.mktemp("sample") / "ios.parquet")


def test_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLE.parent)
    text = render_text(report(Path(SAMPLE.name), ReportOptions(is_table_written=False)))
    if os.environ.get("VIO_REGENERATE"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "it differs: VIO_REGENERATE=1 rewrites it; read the difference"


def test_every_io_is_whole_and_its_times_add_up(findings: Findings) -> None:
    assert findings.io_count > 1000
    assert findings.whole_count == findings.exact_count == findings.io_count
    assert (findings.losses, findings.lacks) == ({}, {})


def test_two_kinds_of_evidence_agree(findings: Findings) -> None:
    assert findings.checked > findings.io_count
    assert findings.disagree == 0


def test_it_shows_every_operation_every_stage_and_merged_requests(findings: Findings) -> None:
    assert {OPS[number] for number in findings.ios["op"].to_pylist()} == set(OPS) - {Op.OTHER}
    assert set(findings.ios["reached"].to_pylist()) >= {len(Stage) - 1}
    assert any(number >= 0 for number in findings.ios["merged_into"].to_pylist())


def test_it_names_no_temporary_place() -> None:
    disk = Recording.open(SAMPLE).manifest.target.disks[0]
    assert disk.path == "/srv/vm/disk.qcow2"


@pytest.mark.parametrize("events", [300, 1000, 5000])
def test_windows_of_any_size_give_the_same_ios(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    at_once = ios_of(SAMPLE)
    monkeypatch.setattr(stream, "WINDOW", events)
    assert ios_of(SAMPLE).equals(at_once)


def test_events_that_came_late_are_put_in_their_places(tmp_path: Path) -> None:
    late = with_late_events(tmp_path / "late.vio", every=37)
    assert ios_of(late).equals(ios_of(SAMPLE))


def test_a_killed_recording_has_what_stood_in_the_kernel(tmp_path: Path) -> None:
    left = killed(tmp_path / "killed.vio", pending_rows=3000, stored_twice=500)
    assert ios_of(left).equals(ios_of(SAMPLE))


def test_a_killed_recording_without_its_last_events_lacks_only_the_last_ios(tmp_path: Path) -> None:
    left = killed(tmp_path / "killed.vio", pending_rows=3000, stored_twice=0)
    (left / "pending.parquet").unlink()
    whole, cut = ios_of(SAMPLE), ios_of(left)
    ended = cut.filter(cut["latency_ns"].is_valid())
    assert 0.5 * whole.num_rows < ended.num_rows < whole.num_rows
    assert exact_count(cut) == ended.num_rows
    assert ended.slice(0, 500).equals(whole.slice(0, 500))


@pytest.mark.parametrize("lost_end", [2, 7, 50])
def test_lost_ends_of_calls_hide_no_io(tmp_path: Path, lost_end: int) -> None:
    every = ios_of(without_a_guest(tmp_path / "every.vio"))
    fewer = ios_of(without_a_guest(tmp_path / "fewer.vio", lost_end))
    assert fewer["begin_ns"].equals(every["begin_ns"])
    whole_count = sum(fewer["is_whole"].to_pylist())
    assert (1 - 3 / lost_end) * fewer.num_rows < whole_count < fewer.num_rows
