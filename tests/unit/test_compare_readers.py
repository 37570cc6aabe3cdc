import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab.demo import SAMPLE

from vio.comparer import readers
from vio.comparer.reading import read_run
from vio.comparer.run import Run
from vio.errors import RecordingError
from vio.reporter.figures import FIGURES_FILE
from vio.reporter.iofile import ios_file
from vio.reporter.report import ReportOptions, report
from vio.reporter.sql.database import Database


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(readers, "WORTH_BYTES", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    paths = [tmp_path / f"{name}.vio" for name in ("a", "b", "c")]
    for path in paths:
        shutil.copytree(SAMPLE, path, ignore=shutil.ignore_patterns("ios.parquet", "shown.parquet", "figures.json"))
    return paths


def _read(paths: list[Path], *, with_depth: bool = False) -> dict[Path, Run]:
    with readers.reading_runs(paths, with_depth=with_depth) as reading:
        return reading.runs()


def test_tables_made_side_by_side_are_those_that_one_process_makes(recordings: list[Path]) -> None:
    *several, alone = recordings
    _read(several)
    expected = ios_file(alone)
    assert expected is not None
    (alone / FIGURES_FILE).unlink()  # are made when they are asked for
    for path in several:
        assert pq.read_table(path / "ios.parquet").equals(pq.read_table(expected))
        assert sorted(one.name for one in path.iterdir()) == sorted(one.name for one in alone.iterdir())


@pytest.mark.parametrize("with_depth", [False, True])
def test_runs_read_side_by_side_are_those_that_one_process_reads(recordings: list[Path], with_depth: bool) -> None:
    *several, alone = recordings
    found = _read(several, with_depth=with_depth)
    expected = read_run(alone, with_depth=with_depth).whole()
    assert set(found) == set(several)
    for run in found.values():
        whole = run.whole()
        assert (whole.begin_ns, whole.end_ns, whole.idle_ns) == (expected.begin_ns, expected.end_ns, expected.idle_ns)
        assert {key: one.io_count for key, one in whole.tallies.items()} == {
            key: one.io_count for key, one in expected.tallies.items()
        }
        assert len(whole.tallies) > 5
        for key, tally in whole.tallies.items():
            rows = {name: (one.buckets.tolist(), one.counts.tolist()) for name, one in tally.rows.items()}
            assert rows == {
                name: (one.buckets.tolist(), one.counts.tolist()) for name, one in expected.tallies[key].rows.items()
            }


def test_figures_that_were_not_made_with_the_table_are_there_when_asked_for(recordings: list[Path]) -> None:
    *several, alone = recordings
    _read(several)
    report(alone, ReportOptions())
    rows = []
    for path in (several[0], alone):
        with Database([path]) as database:
            rows.append(database.run("select stage, phase, count, mean_ns from layers order by all").fetchall())
    assert rows[0] == rows[1]
    assert len(rows[0]) > 10


def test_what_one_process_cannot_read_is_the_errors_of_all(recordings: list[Path]) -> None:
    damaged = recordings[1] / "manifest.json"
    damaged.write_text("{}")
    with pytest.raises(RecordingError) as met:
        _read(recordings)
    with pytest.raises(RecordingError) as expected:
        ios_file(recordings[1])
    assert str(met.value) == str(expected.value)
    assert met.value.hint


def test_what_takes_less_than_a_process_is_left_to_who_reads_it(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "WORTH_BYTES", 1 << 20)
    assert not _read(recordings)
    assert not _read([recordings[0], recordings[0]])
    assert not any((path / "ios.parquet").exists() for path in recordings)


def _deaf(paths: Sequence[Path], with_depth: bool, say: "Connection[object, object]") -> None:
    """Have more to say than a pipe holds, and take no notice of being ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        while True:
            say.send(bytes(1 << 16))


def _slow_of_hearing(paths: Sequence[Path], with_depth: bool, say: "Connection[object, object]") -> None:
    """Be told twice, as who was in a callback of a library that keeps exceptions to itself."""
    told = signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, told))
    say.send({})
    while True:
        signal.pause()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", [_deaf, _slow_of_hearing])
def test_who_reads_ends_with_who_asked(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch, reader: Callable[..., None]
) -> None:
    monkeypatch.setattr(readers, "_read", reader)
    monkeypatch.setattr(readers, "_TOLD_AGAIN_S", 0.1)
    with readers.reading_runs(recordings) as reading:
        started = [one.process for one in reading._readers]
        assert wait([one.said for one in reading._readers])
    assert [one.is_alive() for one in started] == [False, False]
