"""`vio report`: its options, and which form of the report is shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vio.cli_inflight import InFlightOption, in_flight_text
from vio.cli_stream import is_coloured, report_progress, show, show_json
from vio.errors import UsageError
from vio.layer import Op
from vio.ownprocess import keep_memory
from vio.printable import printable
from vio.quantity import parse_stretch_s

if TYPE_CHECKING:
    from vio.reporter.report import ReportOptions

IoOption = Annotated[int | None, typer.Option("--io", metavar="ID", help="Draw this IO's timeline only.")]
BetweenOption = Annotated[str, typer.Option(metavar="A:B", help="Only IOs begun then, from the recording's begin.")]
OutputOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table of the chosen IOs here.")]
WayOption = Annotated[
    str,
    typer.Option("--way", metavar="POINT,...", help="With --stages: the times between these points of the way only."),
]
TableFormatOption = Annotated[str, typer.Option("--format", metavar="parquet|csv|json", help="Of the table.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def add_report_command(app: typer.Typer) -> None:
    """Give the command line the command `report`."""
    app.command()(report)


def report(
    recordings: Annotated[list[Path], typer.Argument(metavar="RECORDING...", help="What `vio record` wrote.")],
    io_number: Annotated[int | None, typer.Option("--io", metavar="ID", help="Draw this IO's timeline only.")] = None,
    slowest: Annotated[int, typer.Option(metavar="N", min=0, help="How many of the slowest IOs to list.")] = 10,
    ops: Annotated[list[Op] | None, typer.Option("--op", help="Only this operation; repeatable.")] = None,
    disks: Annotated[
        list[str] | None, typer.Option("--disk", metavar="NAME", help="Only this disk; repeatable.")
    ] = None,
    between: Annotated[str, typer.Option(metavar="A:B", help="Only IOs begun then, from the recording's begin.")] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Save a picture (.png, .svg, .pdf).")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Save a page for a browser (.html).")] = None,
    stages: Annotated[bool, typer.Option("--stages", help="Show the parts of opened layers.")] = False,
    way: WayOption = "",
    by: Annotated[str, typer.Option(metavar="file", help="Count the IOs of each file of the guest too.")] = "",
    in_flight: InFlightOption = False,
    as_json: JsonOption = False,
    table_format: TableFormatOption = "parquet",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table of the chosen IOs here.")] = None,
) -> None:
    """Say where the time of a recording's IOs went: by layer, the slowest, each of them. Needs no root.

    The table has a row for every IO. Of several recordings there is one report, with a row for each disk and operation.

    \b
    Examples:
      vio report web1.vio
      vio report web1.vio --op write --between 10s:12s --slowest 3
      vio report web1.vio --io 1234
      vio report web1.vio --html web1.html
      vio report web1.vio --stages --plot opened.png
      vio report web1.vio --format csv --output ios.csv
      vio report web1.vio db1.vio --op write
    """
    keep_memory()  # before NumPy is there
    from vio.reporter.choice import Filter
    from vio.reporter.report import ReportOptions
    from vio.reporter.table import TableFormat

    if io_number is not None:
        _show_timeline(recordings, io_number, as_json)
        return
    if in_flight:
        show(in_flight_text(_the_one(recordings, "--in-flight"), as_json, is_coloured()))
        return
    _check_word("--by", by, ("", "file"))
    _check_word("--format", table_format, tuple(TableFormat))
    options = ReportOptions(
        choice=Filter(tuple(ops or ()), tuple(disks or ()), parse_stretch_s(between) if between else None),
        slowest=slowest,
        plot_path=plot,
        html_path=html,
        table_format=TableFormat(table_format),
        table_path=output,
        with_stages=stages or bool(way),
        way=tuple(point.strip() for point in way.split(",")) if way else (),
        is_by_file=bool(by),
    )
    show_them = _show_several if len(recordings) > 1 else _show_one
    show_them(recordings, options, as_json)


def _show_one(recordings: list[Path], options: "ReportOptions", as_json: bool) -> None:
    from vio.reporter.machine import render_json
    from vio.reporter.report import report as report_on
    from vio.reporter.text import render_text

    found = report_on(recordings[0], options, report_progress())
    show((render_json(found) if as_json else render_text(found, is_terminal=is_coloured())).rstrip("\n"))


def _show_timeline(recordings: list[Path], number: int, as_json: bool) -> None:
    from vio.reporter.report import timeline

    recording = _the_one(recordings, "--io")
    if as_json:
        raise UsageError("--io draws a tree, which has no JSON", "the table has one row for every IO: --format json")
    show(timeline(recording, number, is_terminal=is_coloured()).rstrip("\n"))


def _the_one(recordings: list[Path], option: str) -> Path:
    if len(recordings) > 1:
        raise UsageError(f"{option} is of one recording", "give one")
    return recordings[0]


def _show_several(recordings: list[Path], options: "ReportOptions", as_json: bool) -> None:
    from vio.reporter.several import report_several, several_json, several_text

    reports = report_several(recordings, options, report_progress())
    if as_json:
        show_json(several_json(reports))
    else:
        show(several_text(reports, is_terminal=is_coloured()).rstrip("\n"))


def _check_word(option: str, word: str, words: Sequence[str]) -> None:
    if word not in words:
        raise UsageError(f"{option} {printable(word)} is not known", f"one of {', '.join(filter(None, words))}")
