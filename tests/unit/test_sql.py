"""SQL over recordings: what the views hold, what a query may not do, and that nothing is made that it does not need."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab.demo import SAMPLE

from vio.errors import RecordingError, UsageError
from vio.layer import Stage
from vio.mappers.kind import BASE_MASK, Flag, Kind
from vio.recording import Recording
from vio.reporter.iofile import ios_file
from vio.reporter.recorded import Recorded
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import rows_of
from vio.reporter.spans import hulls
from vio.reporter.sql import views
from vio.reporter.sql.database import VIEWS, Database

DATA = Path(__file__).parents[1] / "data"
WRITEBACK, RAW = DATA / "writeback.vio", DATA / "stacks.vio"
Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("sql") / "demo.vio"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("ios.*", "figures.json"))
    report(copy, ReportOptions())
    return copy


def ask(recording: Path, query: str) -> Rows:
    with Database([recording]) as database:
        return database.run(query).fetchall()


def test_ios_has_the_rows_of_the_table_with_names_for_numbers(sample: Path) -> None:
    table = pq.read_table(sample / "ios.parquet")
    names = [name for name, *_ in ask(sample, "describe ios")]
    assert names == [*table.column_names, "begin_s", "lacks", "recording"]
    recorded = Recorded.of(Recording.open(sample))
    for row, (disk, reached, device, begin_s, recording) in zip(
        table.to_pylist(),
        ask(sample, "select disk, reached, device, begin_s, recording from ios order by io"),
        strict=True,
    ):
        assert disk == recorded.disk_name(row["disk"])
        assert reached == list(Stage)[row["reached"]]
        assert device == (None if row["device"] is None else recorded.device_name(row["device"]))
        assert begin_s == pytest.approx(recorded.second(row["begin_ns"]))
        assert recording == "demo.vio"


def test_lacks_are_said_in_words(tmp_path: Path) -> None:
    copy = tmp_path / "lab.vio"
    shutil.copytree(DATA / "scsi.vio", copy)
    said = ask(copy, "select lacks, any_value(lack) from ios group by lacks")
    assert all((lacks == "") == (lack == 0) for lacks, lack in said)


def test_spans_are_the_hulls_of_every_stage(sample: Path) -> None:
    recorded = Recorded.of(Recording.open(sample))
    expected = {
        (row["io"], span.stage.value, span.begin_ns, span.end_ns)
        for row in rows_of(pq.read_table(sample / "ios.parquet"))
        for span in hulls(row, recorded)
    }
    assert set(ask(sample, "select io, stage, begin_ns, end_ns from spans")) == expected


def test_own_times_of_spans_and_what_is_not_attributed_are_the_latency(sample: Path) -> None:
    query = """select ios.io from ios join spans using (io) where latency_ns is not null
      group by ios.io, latency_ns, unattributed_ns having sum(own_ns) + unattributed_ns <> latency_ns"""
    assert ask(sample, query) == []


def test_kinds_of_maps_are_those_of_the_mappers() -> None:
    assert [Kind(number).name.lower() for number in range(len(views.BASE_KINDS))] == list(views.BASE_KINDS)
    assert {flag.value: (flag.name or "").lower() for flag in Flag} == views.KIND_FLAGS
    assert len(Kind) == len(views.BASE_KINDS)
    assert BASE_MASK == 15


def test_every_view_is_there_or_says_why(sample: Path) -> None:
    with Database([sample]) as database:
        for view in VIEWS:
            if view in ("writebacks", "stages"):
                with pytest.raises(UsageError, match=f"there is no {view} here"):
                    database.run(f"from {view}")
            else:
                database.run(f"from {view}").fetchall()
                assert database.columns(view)[-1] == ("recording", "VARCHAR")


def test_writebacks_are_made_with_the_ios(tmp_path: Path) -> None:
    copy = tmp_path / "writeback.vio"
    shutil.copytree(WRITEBACK, copy)
    found = ask(copy, "select disk, device, count(*), sum(bytes) from writebacks group by all")
    table = pq.read_table(copy / "writebacks.parquet")
    assert found == [("disk.img", "loop0", table.num_rows, sum(table["bytes"].to_pylist()))]


def test_maps_are_those_taken_and_what_the_run_shows(sample: Path) -> None:
    query = "select origin, source, count(*), sum(length) from maps where target like 'file:%' group by all order by 1"
    table = pq.read_table(sample / "shown.parquet")
    found = {(origin, source): figures for origin, source, *figures in ask(sample, query)}
    assert found["shown by the run", table["source"][0].as_py()] == [table.num_rows, sum(table["length"].to_pylist())]
    assert any(origin == "taken" for origin, _ in found)


def test_maps_of_a_raw_disk_need_no_join(tmp_path: Path) -> None:
    copy = tmp_path / "raw.vio"
    shutil.copytree(RAW, copy, ignore=shutil.ignore_patterns("ios.*", "figures.json"))
    assert ask(copy, "select distinct origin from maps") == [("taken",)]
    assert not (copy / "ios.parquet").exists()


def test_several_recordings_are_told_apart(sample: Path, tmp_path: Path) -> None:
    other = tmp_path / "a[1]*'?.vio"  # what a pattern or a quote could be taken for
    shutil.copytree(WRITEBACK, other)
    with Database([sample, other]) as database:
        found = database.run("select recording, count(*) from ios group by all order by 1").fetchall()
        named = database.run("select recording, path from recordings order by 1").fetchall()
    assert [name for name, _ in found] == [other.name, "demo.vio"]
    assert named == [(other.name, str(other)), ("demo.vio", str(sample))]


def test_recordings_of_one_name_have_their_paths(sample: Path, tmp_path: Path) -> None:
    other = tmp_path / "demo.vio"
    shutil.copytree(SAMPLE, other)
    with Database([sample, other]) as database:
        assert {row[0] for row in database.run("select recording from recordings").fetchall()} == {
            str(sample),
            str(other),
        }


def test_a_query_that_needs_no_ios_joins_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("ios.*", "figures.json"))
    assert ask(copy, "select count(*) from losses") == [(0,)]
    assert not (copy / "ios.parquet").exists()
    assert ask(copy, "select count(*) from ios") == [(1054,)]
    assert ios_file(copy) == copy / "ios.parquet"


def test_a_recording_that_cannot_be_written_to_gives_the_same(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("ios.*", "figures.json"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    for query in ("select count(*), sum(own_ns) from spans", "from links order by all", "from layers order by all"):
        assert ask(copy, query) == ask(sample, query)
    assert not (copy / "ios.parquet").exists()


def test_a_damaged_segment_makes_no_new_join_each_time(tmp_path: Path) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("ios.*", "figures.json"))
    next((copy / "events").glob("segment-*.parquet")).write_bytes(b"broken")
    count = ask(copy, "select count(*) from ios")
    before = (copy / "ios.parquet").stat().st_mtime_ns
    assert ask(copy, "select count(*) from ios") == count
    assert (copy / "ios.parquet").stat().st_mtime_ns == before
    assert ask(copy, "select kind from losses") == [("segment",)]


@pytest.mark.parametrize("content", ["{", "[]", '{"figures": 1}'])
def test_figures_that_make_no_sense_are_made_again(sample: Path, tmp_path: Path, content: str) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(sample, copy)
    (copy / "figures.json").write_text(content)
    assert ask(copy, "from links order by all") == ask(sample, "from links order by all")


def test_forged_figures_are_an_error_of_one_line(sample: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(sample, copy)
    kept = json.loads((copy / "figures.json").read_text())
    kept["figures"]["join"][0]["parents"] = "many"
    (copy / "figures.json").write_text(json.dumps(kept))
    with pytest.raises(RecordingError, match=r"figures\.json"):
        ask(copy, "from links")


def test_a_damaged_table_is_an_error_of_the_recording(sample: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(sample, copy)
    content = bytearray((copy / "ios.parquet").read_bytes())
    content[200:60000:7] = bytes(len(content[200:60000:7]))
    (copy / "ios.parquet").write_bytes(content)
    with pytest.raises(RecordingError, match="damaged"):
        ask(copy, "from ios")


def test_a_table_without_its_columns_is_an_error_of_the_recording(sample: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo.vio"
    shutil.copytree(sample, copy)
    table = pq.read_table(copy / "ios.parquet")
    pq.write_table(table.select(["io", "op"]), copy / "ios.parquet")
    with pytest.raises(RecordingError, match=r"ios\.parquet is damaged"):
        ask(copy, "select io from ios")


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd.csv'",
        "select * from read_text('/etc/hostname')",
        "select * from glob('/etc/*')",
        "select * from read_parquet('https://example.com/x.parquet')",
        "select * from sample",  # a variable of this module's
        "copy (select 1) to 'out.csv'",
        "attach 'x.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma enable_external_access",
        "create table t as select 1",
        "explain analyze copy (select 1) to 'out.csv'",
        "export database 'x'",
        "select 1; select 2",
        "",
        "-- nothing",
        "selec",
        "select nothing from ios",
    ],
)
def test_a_query_only_reads_the_recording(
    sample: Path, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        ask(sample, query)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_recordings_own_files_cannot_be_written(sample: Path) -> None:
    before = (sample / "ios.parquet").read_bytes()
    with pytest.raises(UsageError):
        ask(sample, f"copy (select 1) to '{sample}/ios.parquet'")
    assert (sample / "ios.parquet").read_bytes() == before


def test_what_is_no_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is not a recording"):
        Database([tmp_path])


def test_the_page_names_every_column(sample: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    with Database([sample]) as database:
        for view in ("spans", "layers", "links", "losses", "recordings"):
            assert f"**{view}**" in page
            for name, _ in database.columns(view):
                assert f"`{name}`" in page


def test_the_pages_questions_are_answered(sample: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    questions = page.partition("## Questions")[2].partition("## Output")[0]
    asked = [part for part in questions.split("\n\n") if part.startswith("    ")]
    assert len(asked) == 3
    for question in asked:
        assert ask(sample, question)
