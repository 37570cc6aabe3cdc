"""Drive a report: open the recording, stream the join's windows into the figures and the per-IO table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from vio.errors import OutputError, UsageError
from vio.mappers import shown as of_run
from vio.recording import Recording
from vio.reporter.byfile import ByFile
from vio.reporter.choice import Chooser, Filter
from vio.reporter.figures import keep_figures
from vio.reporter.opened import STAGES_FILE, OpenedLayers, WithParts
from vio.reporter.parts import PartsReader
from vio.reporter.progress import Progress, Ticker
from vio.reporter.quality import JoinQuality
from vio.reporter.recorded import Recorded
from vio.reporter.result import Report, rows_of
from vio.reporter.shown import SHOWN_FILE, ShownPlaces
from vio.reporter.sidefile import SideFile
from vio.reporter.slowest import Notable
from vio.reporter.spans import hulls, part_spans, spans_of
from vio.reporter.stream import Join, find_io
from vio.reporter.summary import Summary
from vio.reporter.table import TableFormat, TableWriter
from vio.reporter.timeline import render_timeline
from vio.reporter.verdict.watch import Watch, Watched
from vio.reporter.waits import stage_waits
from vio.reporter.waitsum import WithWaits, count_waits
from vio.reporter.writeback import Writeback
from vio.schema import IOS, STAGES, WRITEBACKS, Column, arrow_schema

if TYPE_CHECKING:
    from vio.reporter.html.page import Page

WRITEBACKS_FILE = "writebacks.parquet"
_NO_ROWS = arrow_schema(IOS).empty_table()


class JoinStream(WithParts, WithWaits, Watched, Protocol):
    """What a report reads: tables of schema.IOS, once; `quality`, `writeback` and `shown` are complete after that."""

    quality: JoinQuality
    writeback: Writeback | None
    shown: ShownPlaces | None

    def tables(self) -> Iterator[pa.Table]:
        """Yield the IOs, window by window."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report on. A table at `table_path` has the chosen IOs; without a path, RECORDING/ios.* has every IO.

    `way` names the points on the way of an IO between which the stages' times are told; none for all. Without
    `with_figures` only the tables are made: nothing is counted, and there is no verdict. `is_ahead` makes windows ahead
    of their use, for which there must be a processor, and memory.
    """

    choice: Filter = field(default_factory=Filter)
    slowest: int = 10
    plot_path: Path | None = None
    html_path: Path | None = None
    table_format: TableFormat = TableFormat.PARQUET
    table_path: Path | None = None
    is_table_written: bool = True
    with_stages: bool = False
    way: tuple[str, ...] = ()
    is_by_file: bool = False
    with_figures: bool = True
    is_ahead: bool = True

    @property
    def are_stages_written(self) -> bool:
        """Whether the table of parts goes beside the per-IO table; unasked only where that has no other place."""
        return self.is_table_written and (self.with_stages or self.table_path is None)

    @property
    def is_rest_written(self) -> bool:
        """Whether the tables of writebacks, and of what the run shows, go beside the per-IO table of a recording."""
        return self.is_table_written and self.table_path is None

    @property
    def is_kept(self) -> bool:
        """Whether the figures, being of every IO, go beside the per-IO table."""
        return self.is_rest_written and self.choice.is_all and self.with_figures


def report(path: Path, options: ReportOptions, on_progress: Callable[[Progress], None] | None = None) -> Report:
    """Join a recording and report on it; calls `on_progress` a few times a second when it takes longer than one.

    Raises:
        RecordingError: the recording cannot be read.
        UsageError: the options do not fit the recording.
        OutputError: the picture, the page, or a table at a path that was named, cannot be written.
    """
    recording = Recording.open(path)
    manifest = recording.manifest
    # the steps of mapped devices are shown unasked: there are few
    parts: PartsReader | None = PartsReader(manifest.points if options.with_stages else (), manifest.devices)
    if parts is not None and parts.is_empty:
        parts = None
    if parts is None and options.with_stages:
        raise UsageError(
            f"{path} has no inner points",
            "open a layer when recording: vio record --open fs, or --point kprobe:FUNCTION",
        )
    by_file = ByFile.of(recording) if options.is_by_file else None
    join = Join(recording, parts=parts, with_figures=options.with_figures, is_ahead=options.is_ahead)
    result = report_on(Recorded.of(recording), join, options, on_progress, by_file)
    if options.is_kept:
        keep_figures(result)
    return result


def report_on(
    recorded: Recorded,
    stream: JoinStream,
    options: ReportOptions,
    on_progress: Callable[[Progress], None] | None = None,
    by_file: ByFile | None = None,
) -> Report:
    """Report on a join; `by_file` counts the IOs of each of the guest's files too."""
    if options.slowest < 0:
        raise UsageError("--slowest needs a number that is not negative")
    chooser = Chooser(options.choice, recorded)
    result = Report(recorded, Summary(), stream.quality, options.choice, _NO_ROWS, _NO_ROWS)
    figures = (
        _Figures(stream, result, Notable(options.slowest), Watch(stream), by_file) if options.with_figures else None
    )
    page = _page(options, recorded) if options.html_path else None
    opened = OpenedLayers.of(stream, options.way)
    result.parts = opened.summary
    ticker = Ticker(recorded, on_progress)
    with (
        _TableOutput(recorded, options, result) as output,
        _side_file(STAGES_FILE, STAGES, result, is_wanted=options.are_stages_written) as stages,
        _side_file(WRITEBACKS_FILE, WRITEBACKS, result, is_wanted=options.is_rest_written) as writebacks,
        _side_file(SHOWN_FILE, of_run.COLUMNS, result, is_wanted=options.is_rest_written) as shown,
    ):
        for every in stream.tables():
            chosen = chooser.choose(every)
            output.write(every, chosen)
            opened.add(chosen, stages)
            if figures:
                figures.add(every, chosen)
            if page:
                page.add(stream, every, chosen)
            _take_ready(stream, writebacks, shown, page)
            ticker.passed(every)
        _take_ready(stream, writebacks, shown, page)
    result.stages_path, result.writebacks_path, result.shown_path = stages.made, writebacks.made, shown.made
    result.writeback = stream.writeback.figures if stream.writeback else None
    result.shown = stream.shown.figures if stream.shown else None
    if result.parts is not None:
        result.parts.hops.check()
    if figures:
        figures.finish()
    if options.plot_path and result.summary.groups:
        _plot(result, options.plot_path)
    if page:
        page.write(result)
    return result


@dataclass(frozen=True, slots=True)
class _Figures:
    """What is counted while the windows go by; by file, too, if that was asked for."""

    stream: JoinStream
    result: Report
    notable: Notable
    watch: Watch
    by_file: ByFile | None

    def add(self, every: pa.Table, chosen: pa.Table) -> None:
        """Count the chosen IOs of the stream's last table."""
        result = self.result
        result.waits = count_waits(self.stream, every, chosen, result.waits)
        self.watch.add(every, chosen)
        if chosen.num_rows:
            result.summary.add(chosen)
            result.of_which.add(chosen)
            self.notable.add(chosen)
            if self.by_file:
                self.by_file.add(chosen)

    def finish(self) -> None:
        """Complete the report; everything else in it is complete."""
        result = self.result
        result.slowest, result.unended = self.notable.slowest, self.notable.unended
        result.files = self.by_file.rows if self.by_file else None
        result.verdict = self.watch.verdict(result)


def _take_ready(stream: JoinStream, writebacks: SideFile, shown: SideFile, page: "Page | None") -> None:
    if stream.writeback:
        rows = stream.writeback.take()
        writebacks.write(rows)
        if page:
            page.add_later(rows)
    if stream.shown:
        shown.write(stream.shown.take())


def timeline(path: Path, number: int, *, is_terminal: bool = False) -> str:
    """Write the timeline of one IO of a recording.

    Raises:
        UsageError: there is no such IO.
    """
    recording = Recording.open(path)
    recorded = Recorded.of(recording)
    parts = PartsReader(recording.manifest.points, recording.manifest.devices)
    found = find_io(recording, number, parts)
    if found is None:
        raise UsageError(f"{path} has no IO {number}", f"`vio report {path}` shows the numbers of the slowest")
    row = rows_of(found.row)[0]
    spans = spans_of(found.joined, found.position, recorded) or hulls(row, recorded)
    spans = [*spans, *part_spans(found.stages)]
    waits = stage_waits(found.waits, 0) if found.waits else {}
    return render_timeline(row, spans, recorded, found.later.to_pylist(), waits, is_terminal=is_terminal)


def _page(options: ReportOptions, recorded: Recorded) -> "Page":
    # Only here: who wants no page does not wait for what makes it.
    from vio.reporter.html.page import Page

    return Page(options.html_path or Path(), recorded, options.choice, options.slowest)


def _plot(result: Report, path: Path) -> None:
    # Only here: matplotlib takes longer to import than a small report to make.
    from vio.reporter.figure import figure, save
    from vio.reporter.stagefigure import opened_figure

    is_opened = result.parts is not None and result.parts.has_points
    save(opened_figure(result, result.parts) if result.parts and is_opened else figure(result), path)
    result.plot_path = path


def _side_file(name: str, columns: Sequence[Column], result: Report, *, is_wanted: bool) -> SideFile:
    path = Path(result.recorded.path) / name if is_wanted else None
    return SideFile(path, arrow_schema(columns), result.recorded.disk_names, result.notes.append)


class _TableOutput:
    """The per-IO table while it is written; one that nobody named and that cannot be written becomes a note."""

    def __init__(self, recorded: Recorded, options: ReportOptions, result: Report) -> None:
        self._result = result
        self._is_named = options.table_path is not None
        path = options.table_path or Path(recorded.path) / f"ios.{options.table_format}"
        of = "" if options.table_path else recorded.fingerprint
        is_wanted = options.is_table_written
        self._writer = TableWriter(path, options.table_format, recorded.disk_names, of) if is_wanted else None

    def __enter__(self) -> "_TableOutput":
        self._try(lambda writer: writer.__enter__())
        return self

    def write(self, every: pa.Table, chosen: pa.Table) -> None:
        self._try(lambda writer: writer.write(chosen if self._is_named else every))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._try(lambda writer: writer.__exit__(kind, error, None))
        if self._writer and kind is None:
            self._result.table_path = self._writer.path

    def _try(self, step: Callable[[TableWriter], object]) -> None:
        if self._writer is None:
            return
        try:
            step(self._writer)
        except OutputError as error:
            writer, self._writer = self._writer, None
            writer.discard()
            if self._is_named:
                raise
            self._result.notes.append(f"not written: {error}")
