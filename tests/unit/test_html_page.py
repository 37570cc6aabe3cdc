"""The page: its figures are those of the report, and no name can become a part of it."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from lab.demo import SAMPLE
from tests.builders import a_recorded, a_stream, an_io_table
from tests.samples import HOSTILE, with_names
from tests.unit.test_report import recorded_at

from vio.errors import OutputError
from vio.layer import Op, Stage
from vio.recording import Recording
from vio.reporter.choice import Filter
from vio.reporter.html.data import page_data
from vio.reporter.html.glossary import glossary
from vio.reporter.html.series import ALL, Series
from vio.reporter.html.slow import SlowIos
from vio.reporter.latertext import later_grid
from vio.reporter.parts import PartsReader
from vio.reporter.report import ReportOptions, report, report_on
from vio.reporter.result import Report, number_in, rows_of
from vio.reporter.spans import spans_of
from vio.reporter.stream import Join, find_io
from vio.reporter.text import layer_grid, render_text

ROOT = Path(__file__).parents[2]


class Seen(HTMLParser):
    """Collects a page's tags, what stands between them, and the data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.data = ""
        self._is_data = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._is_data = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data += data
            self._is_data = False
        else:
            self.texts.append(data.strip())


def page_of(recording: Path, path: Path, **options: object) -> tuple[Report, Seen]:
    found = report(recording, ReportOptions(html_path=path, is_table_written=False, **options))  # type: ignore[arg-type]
    return found, Seen(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Seen]:
    return page_of(SAMPLE, tmp_path_factory.mktemp("page") / "sample.html")


def test_the_tables_are_those_of_the_text(shown: tuple[Report, Seen]) -> None:
    found, page = shown
    for cells, _ in layer_grid(found).rows:
        assert {cell.strip() for cell in cells} <= set(page.texts)
    named = dict.fromkeys(int(text.split()[1]) for text in page.texts if re.fullmatch(r"IO \d+", text))
    assert list(named)[:10] == found.slowest["io"].to_pylist()


def test_the_pictures_are_of_the_same_figures(shown: tuple[Report, Seen]) -> None:
    found, page = shown
    data = json.loads(page.data)
    total = found.summary.total()
    assert sum(sum(flow["count"]) for flow in data["flows"]) == total.io_count
    assert sum(sum(flow["bytes"]) for flow in data["flows"]) == total.bytes
    for layer in data["layers"]:
        parts = found.summary.stages | {"unattributed": found.summary.unattributed}
        count = total.latency.count if layer["name"] == ALL else parts[layer["name"]].count
        assert sum(layer["cells"][1::2]) == count
    for place, label in enumerate(data["bars"]["labels"]):
        group = found.summary.by_op()[Op(label)]
        assert data["bars"]["mean_ns"][place] == pytest.approx(group.latency.mean_ns, abs=0.1)
        parts_ns = sum(part["mean_ns"][place] for part in data["bars"]["parts"])
        assert parts_ns == pytest.approx(group.latency.mean_ns, abs=3)
    for curve in data["curves"]["layers"][1:]:
        stage = next(stage for stage in found.summary.stages if stage == curve["name"])
        expected = found.summary.stages[stage].quantiles_ns(data["curves"]["shares"])
        assert np.allclose(curve["ns"], expected, rtol=0.01, atol=1)


def test_the_mean_depth_is_the_time_of_all_ios(shown: tuple[Report, Seen]) -> None:
    found, page = shown
    data = json.loads(page.data)
    in_flight_s = sum(sum(flow["depth"]) for flow in data["flows"]) * data["time"]["width_s"]
    assert in_flight_s == pytest.approx(found.summary.total().latency.total_ns / 1e9, rel=0.01)


def test_every_layer_is_explained(shown: tuple[Report, Seen]) -> None:
    assert set(shown[0].summary.stages) == set(Stage), "the sample has all layers"
    assert [name for name, _ in glossary(shown[0])] == [*Stage, "unattributed"]


def test_timelines_are_those_that_the_command_draws() -> None:
    recording, join = Recording.open(SAMPLE), Join(Recording.open(SAMPLE))
    recorded = a_recorded()
    slow = SlowIos(3, recorded)
    for every in join.tables():
        slow.add(join, every, every)
    slowest, _ = slow.tables
    for row in rows_of(slowest):
        found = find_io(recording, int(row["io"] or 0), PartsReader(()))
        assert found
        expected = sorted(spans_of(found.joined, found.position, recorded), key=lambda span: span.begin_ns)
        assert list(slow.work(int(row["io"] or 0)).spans) == expected
        assert len(expected) > 5


def test_no_name_becomes_a_part_of_the_page(shown: tuple[Report, Seen], tmp_path: Path) -> None:
    _, page = page_of(with_names(tmp_path / "hostile.vio", HOSTILE), tmp_path / "hostile.html")
    assert page.tags.count("script") == 3
    assert set(page.tags) == set(shown[1].tags)
    assert {name for name, _ in page.attributes} == {name for name, _ in shown[1].attributes}
    assert any("<img src=x" in text for text in page.texts), "the names are there, as text"
    assert "\u202e" not in (tmp_path / "hostile.html").read_text(encoding="utf-8")
    assert "<img src=x" in json.loads(page.data)["places"][0]["disk"]


def test_nothing_is_fetched(shown: tuple[Report, Seen]) -> None:
    _, page = shown
    links = [value for name, value in page.attributes if name in {"src", "href", "action", "srcset"}]
    assert links
    assert all(link.startswith("#") for link in links)
    assert any("default-src 'none'" in value for name, value in page.attributes if name == "content")


def test_the_chart_library_is_as_its_project_published_it() -> None:
    library = (ROOT / "reporter/html/vendor/echarts.min.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    assert b"</script" not in library


def test_what_is_chosen_is_what_is_shown(tmp_path: Path) -> None:
    choice = Filter(ops=(Op.WRITE,), between_s=(1.0, 2.0))
    found, page = page_of(SAMPLE, tmp_path / "x.html", choice=choice)
    data = json.loads(page.data)
    assert {flow["op"] for flow in data["flows"]} == {"write"}
    assert sum(sum(flow["count"]) for flow in data["flows"]) == found.summary.total().io_count
    assert (data["time"]["begin_s"], data["time"]["width_s"] * data["time"]["count"]) == (1.0, 1.0)
    assert any("operation write; begun between 1 s and 2 s" in text for text in page.texts)


def test_no_io_makes_a_page_too(tmp_path: Path) -> None:
    path = tmp_path / "none.html"
    found = report_on(recorded_at(tmp_path), a_stream([]), ReportOptions(html_path=path, is_table_written=False))
    assert "No IO was recorded." in Seen(path.read_text(encoding="utf-8")).texts
    assert f"page: {path}" in render_text(found)


def test_ios_that_never_ended_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "open.html"
    stream = a_stream([an_io_table(5, unended=5)])
    report_on(recorded_at(tmp_path), stream, ReportOptions(html_path=path, is_table_written=False))
    texts = Seen(path.read_text(encoding="utf-8")).texts
    assert "IOs without an end" in texts
    assert "10.0 s" in texts


def test_what_was_written_back_later_stands_below_the_timeline(tmp_path: Path) -> None:
    path = ROOT / "tests/data/writeback.vio"
    found, page = page_of(path, tmp_path / "page.html")
    shown = {
        io: later_grid(row, one.later.to_pylist(), found.recorded)
        for row in rows_of(found.slowest)
        if (one := find_io(Recording.open(path), io := number_in(row, "io"), PartsReader(()))) and one.later.num_rows
    }
    assert shown
    for io, grid in shown.items():
        assert f"What of IO {io} was written back later, in us from its begin" in page.texts
        assert {cell for cells, _ in grid.rows for cell in cells} <= set(page.texts)


def test_where_the_page_is_stands_in_the_text(shown: tuple[Report, Seen]) -> None:
    assert f"page: {shown[0].html_path}" in render_text(shown[0])


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "directory.html").mkdir()
    for path in (tmp_path / "gone" / "x.html", tmp_path / "directory.html"):
        options = ReportOptions(html_path=path, is_table_written=False)
        with pytest.raises(OutputError, match=r"cannot be written|no regular file"):
            report_on(recorded_at(tmp_path), a_stream([an_io_table(100)]), options)
    assert [path.name for path in tmp_path.iterdir()] == ["directory.html"]


def test_the_data_of_many_ios_stays_small(tmp_path: Path) -> None:
    """A page is under 5 MB however many IOs: nothing in its data grows with their number."""
    ios = an_io_table(40_000)
    series = Series(a_recorded(), Filter())
    series.add(ios)
    result = report_on(recorded_at(tmp_path), a_stream([ios]), ReportOptions(is_table_written=False))
    assert len(json.dumps(page_data(result, series))) < 1_000_000
