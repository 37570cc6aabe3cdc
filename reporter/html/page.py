"""The page: fed with the windows of a join, then written as one file that needs nothing else."""

import base64
import hashlib
from contextlib import suppress
from importlib import resources
from pathlib import Path

import jinja2
import pyarrow as pa

from vio import __version__
from vio.draft import draft_of
from vio.errors import OutputError
from vio.layer import Stage
from vio.printable import printable
from vio.reporter.choice import Filter
from vio.reporter.header import recorded_pairs
from vio.reporter.html import tables
from vio.reporter.html.data import page_json
from vio.reporter.html.glossary import glossary
from vio.reporter.html.headline import headlines, unjudged
from vio.reporter.html.series import Series
from vio.reporter.html.slow import SlowIos
from vio.reporter.html.waterfall import SlowIo, slow_io
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, Report, number_in, rows_of
from vio.reporter.text import most_text, render_text

_LISTED = 50
_STAGES = tuple(Stage)
_SCRIPTS = ("format.js", "chart.js", "heat.js", "flow.js", "layers.js", "page.js")
_STYLES = ("theme.css", "page.css", "tables.css", "media.css")
_FILES = resources.files("vio.reporter.html")


class Page:
    """Gathers what the page shows; `slowest` IOs are listed, at least 50."""

    def __init__(self, path: Path, recorded: Recorded, choice: Filter, slowest: int) -> None:
        self._path = path
        self._series = Series(recorded, choice)
        self._slow = SlowIos(max(slowest, _LISTED), recorded)

    def add(self, stream: object, every: pa.Table, chosen: pa.Table) -> None:
        """Take the chosen IOs of the table that the stream has given last."""
        self._series.add(chosen)
        self._slow.add(stream, every, chosen)

    def add_later(self, writebacks: pa.Table) -> None:
        """Take what of earlier IOs was written back (schema.WRITEBACKS)."""
        self._slow.add_later(writebacks)

    def write(self, report: Report) -> None:
        """Write the file, beside its place first, and say in the report where it is.

        Raises:
            OutputError: it cannot be written.
        """
        part = draft_of(self._path)
        text = self.render(report)
        try:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise OutputError(f"the page {self._path} cannot be written: {error.strerror or error}") from None
        report.html_path = self._path

    def render(self, report: Report) -> str:
        """Return the document."""
        slowest, unended = self._slow.tables
        echarts = _asset("vendor/echarts.min.js")
        script = "\n".join(_asset(f"js/{name}") for name in _SCRIPTS)
        return _template().render(
            version=__version__,
            title=printable(f"vio: IOs of {report.recorded.target_text}"),
            recording=list(recorded_pairs(report)),
            target=printable(report.recorded.target_text),
            choice="" if report.choice.is_all else printable(report.choice.words),
            headlines=headlines(report),
            glossary=glossary(report),
            unjudged=unjudged(report),
            losses=tables.loss_notes(report),
            has_ios=bool(report.summary.groups),
            counts=tables.count_table(report),
            layers=list(tables.layer_tables(report)),
            slowest=self._slow_ios(slowest, report),
            unended=self._slow_ios(unended, report),
            join=tables.join_table(report),
            trust=tables.trust_notes(report),
            text=render_text(report),
            data=page_json(report, self._series),
            css="\n".join(_asset(f"css/{name}") for name in _STYLES),
            echarts=echarts,
            script=script,
            hashes=[_hash(echarts), _hash(script)],
        )

    def _slow_ios(self, rows: pa.Table, report: Report) -> list[SlowIo]:
        return [
            slow_io(row, self._slow.work(number_in(row, "io")), report.recorded, _most(row)) for row in rows_of(rows)
        ]


def _most(row: IoRow) -> str:
    is_ended = row["latency_ns"] is not None
    return most_text(row) if is_ended else f"deepest layer reached: {_STAGES[number_in(row, 'reached')]}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.j2"))


def _asset(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the hash by which the page's own rules let a script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
