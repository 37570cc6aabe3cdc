"""The report for a terminal: the answer first, then the figures that it rests on; plain when piped."""

from collections.abc import Iterator

from vio.layer import Phase, Stage
from vio.printable import printable, shell_word
from vio.reporter.byfiletext import file_lines
from vio.reporter.cachetext import cache_lines
from vio.reporter.grid import Grid, Style, wrapped
from vio.reporter.header import count_lines, loss_lines, recorded_lines
from vio.reporter.histogram import Distribution
from vio.reporter.quality import JoinRow
from vio.reporter.result import IoRow, Report, Unreached, longest_part, number_in, place_name, rows_of
from vio.reporter.showntext import shown_lines
from vio.reporter.stagetext import hop_lines, part_lines
from vio.reporter.units import TimeUnit, bytes_text, share_text, time_text, unit_for
from vio.reporter.verdict.text import verdict_lines
from vio.reporter.waittext import wait_lines, words_of_most
from vio.schema import OPS

QUANTILES = (0.5, 0.9, 0.99, 0.999)
# Phases with less of the time are left out: they are in --json.
_LEAST_SHARE = 0.0005
_HEADS = ("mean", "p50", "p90", "p99", "p99.9", "max")


def render_text(report: Report, *, is_terminal: bool = False) -> str:
    """Write the report as lines of at most 100 characters, names from outside excepted."""
    style = Style(is_terminal)
    blocks = [
        list(loss_lines(report.recorded, style)),
        list(verdict_lines(report.verdict, style)),
        list(recorded_lines(report)),
        list(_body(report, style)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _body(report: Report, style: Style) -> Iterator[str]:
    if not report.summary.groups:
        yield "no IO was recorded" if report.choice.is_all else "no IO is of those chosen"
        yield from (printable(note) for note in report.notes)
        yield from _page_lines(report)
        return
    if report.summary.total_ns:
        yield from (style.heading(line) for line in wrapped(answer(report)))
        yield ""
    yield from count_lines(report, style)
    if report.summary.total().latency.count:
        yield ""
        yield from _layer_lines(report, style)
        yield from _of_which_lines(report, style)
        yield ""
        yield from wait_lines(report, unit_for(report.summary.total().latency.quantile_ns(0.5)), style)
        yield from _opened_lines(report, style)
    if report.files is not None:
        yield ""
        yield from file_lines(report.files, report.recorded, style)
    if report.slowest.num_rows:
        yield ""
        yield from _slowest_lines(report, style)
    yield ""
    yield from _join_lines(report, style)
    yield ""
    yield from _closing_lines(report)


def answer(report: Report) -> str:
    """Say in one sentence where the time goes."""
    summary = report.summary
    parts = [(place_name(stage, phase), summary.share(part)) for (stage, phase), part in summary.phases.items()]
    parts.append(("unattributed", summary.share(summary.unattributed)))
    largest = sorted(parts, key=lambda part: -part[1])[:3]
    shown = ", ".join(f"{name} {share_text(share)}" for name, share in largest if share)
    total = summary.total()
    whole = share_text(total.whole_count / total.io_count)
    return f"Most of the time: {shown}. {whole} of {total.io_count:,} IOs are whole."


def layer_grid(report: Report) -> Grid:
    """Make the table of the layers' own times."""
    summary = report.summary
    latency = summary.total().latency
    unit = unit_for(latency.quantile_ns(0.5))
    grid = Grid((f"time ({unit.name})", "IOs", "share", *_HEADS))
    for stage, whole in summary.stages.items():
        _add_times(grid, stage.value, whole, summary.share(whole), unit)
        for phase in Phase:
            part = summary.phases.get((stage, phase))
            if part and part.total_ns != whole.total_ns and summary.share(part) >= _LEAST_SHARE:
                _add_times(grid, f"  {phase}", part, summary.share(part), unit, is_lesser=True)
            elif part and part.total_ns and part.total_ns == whole.total_ns:
                _relabel(grid, place_name(stage, phase))
    _add_times(grid, "unattributed", summary.unattributed, summary.share(summary.unattributed), unit)
    _add_times(grid, "all", latency, 1.0, unit)
    return grid


def _layer_lines(report: Report, style: Style) -> Iterator[str]:
    yield from layer_grid(report).lines(style)
    yield "A layer's own time: while nothing below it works. down: before its first work below begins, up:"
    yield "after the last has ended, between: between the two; all of it in the lowest layer of an IO."
    if report.recorded.observes(Stage.QEMU_DEVICE):
        yield "An IO ends when QEMU notifies the guest: what the guest takes until it reacts is not seen here."
    yield from _gap_lines(report.unreached())


def of_which_grid(report: Report) -> Grid:
    """Make the table of the time for images' own tables and copies; without rows where there is none."""
    summary = report.summary
    unit = unit_for(summary.total().latency.quantile_ns(0.5))
    grid = Grid((f"of which ({unit.name})", "IOs", "share", *_HEADS))
    for name, part in report.of_which.rows.items():
        _add_times(grid, name, part, summary.share(part), unit)
    return grid


def _of_which_lines(report: Report, style: Style) -> Iterator[str]:
    grid = of_which_grid(report)
    if not grid.rows:
        return
    yield ""
    yield from grid.lines(style)
    yield "In the layers' times: while an IO had nothing under way for the guest's own data. Tables: L1, L2,"
    reads = report.of_which.metadata_reads
    yield f"refcounts; {reads:,} reads of them. Copies: the rest of a new cluster, old data or zeroes."


def _opened_lines(report: Report, style: Style) -> Iterator[str]:
    if report.parts is None:
        return
    yield ""
    unit = unit_for(report.summary.total().latency.quantile_ns(0.5))
    yield from part_lines(report.parts, report.summary.stages, unit, style)
    yield ""
    yield from hop_lines(report.parts.hops, max(report.slowest.num_rows, 1), style)


def _gap_lines(gaps: list[Unreached]) -> Iterator[str]:
    for gap in gaps:
        if not gap.is_recorded:
            where = "" if gap.stage is Stage.QEMU_DEVICE else "; its time is in the layer above"
            yield f"not recorded: {gap.stage} had no point{where}"
    seen = [gap for gap in gaps if gap.is_recorded]
    if seen:
        shown = ", ".join(f"{gap.stage} {gap.count:,} ({share_text(gap.count / gap.of)})" for gap in seen)
        yield from wrapped(f"not reached by some of the {seen[0].of:,} IOs: {shown}")


def _relabel(grid: Grid, name: str) -> None:
    (_, *cells), is_lesser = grid.rows[-1]
    grid.rows[-1] = ((name, *cells), is_lesser)


def _add_times(
    grid: Grid, name: str, part: Distribution, share: float, unit: TimeUnit, *, is_lesser: bool = False
) -> None:
    times = (part.mean_ns, *part.quantiles_ns(QUANTILES), part.max_ns)
    grid.add(name, f"{part.count:,}", share_text(share), *(unit.text(time) for time in times), is_lesser=is_lesser)


def _slowest_lines(report: Report, style: Style) -> Iterator[str]:
    grid = Grid(
        ("slowest: id", "op", "disk", "offset", "bytes", "begun", "latency", "most of it in"), frozenset({1, 2, 7})
    )
    for row in rows_of(report.slowest):
        grid.add(*_slow_cells(row, report))
    yield from grid.lines(style)


def most_text(row: IoRow) -> str:
    """Say where most of an IO's time went."""
    part = longest_part(row)
    return f"{part[0]} {share_text(part[1] / number_in(row, 'latency_ns'))}{words_of_most(row)}" if part else "-"


def _slow_cells(row: IoRow, report: Report) -> tuple[str, ...]:
    return (
        str(row["io"]),
        OPS[number_in(row, "op")].value,
        printable(report.recorded.disk_name(number_in(row, "disk"))),
        f"{number_in(row, 'offset'):#x}",
        bytes_text(number_in(row, "bytes")),
        f"{report.recorded.second(number_in(row, 'begin_ns')):.6f} s",
        time_text(number_in(row, "latency_ns")),
        most_text(row),
    )


def join_grid(report: Report) -> Grid:
    """Make the table of how well the layers were joined."""
    grid = Grid(("join", "evidence", "spans", "joined", "checked", "disagree"), frozenset({0, 1}))
    for row in report.quality.rows:
        grid.add(*_join_cells(row))
    return grid


def _join_lines(report: Report, style: Style) -> Iterator[str]:
    grid = join_grid(report)
    if grid.rows:
        yield from grid.lines(style)
    yield from join_notes(report)
    if report.shown:
        yield from shown_lines(report.shown)
    if report.writeback:
        yield from cache_lines(report.writeback)


def join_notes(report: Report) -> Iterator[str]:
    """Say what was ambiguous, and what no IO owns."""
    yield f"ambiguous: {report.quality.ambiguous:,} links, {report.summary.ambiguous_count:,} IOs"
    for name, count in report.quality.orphans.items():
        if count:
            yield f"of no IO: {count:,} {printable(name)}"


def _join_cells(row: JoinRow) -> tuple[str, ...]:
    joined, disagree = row.joined_share, row.disagree_share
    return (
        f"{row.source} -> {row.to}",
        row.evidence.value,
        f"{row.parents:,}",
        "-" if joined is None else share_text(joined),
        f"{row.checked:,}" if row.checked else "-",
        "-" if disagree is None else share_text(disagree),
    )


def _closing_lines(report: Report) -> Iterator[str]:
    yield from (printable(note) for note in report.notes)
    if report.table_path:
        yield f"every IO, with its time stamp at every point: {printable(str(report.table_path))}"
    if report.writebacks_path:
        yield f"what was written back of them later: {printable(str(report.writebacks_path))}"
    if report.shown_path:
        yield f"what the run shows of the disks' maps: {printable(str(report.shown_path))}"
    if report.stages_path:
        yield f"every span of a part: {printable(str(report.stages_path))}"
    if report.plot_path:
        yield f"picture: {printable(str(report.plot_path))}"
    yield from _page_lines(report)
    if report.slowest.num_rows:
        yield f"look at one: vio report {shell_word(report.recorded.path)} --io {report.slowest['io'][0].as_py()}"


def _page_lines(report: Report) -> Iterator[str]:
    if report.html_path:
        yield f"page: {printable(str(report.html_path))}"
