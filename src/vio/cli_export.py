"""`vio export`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from vio.cli_stream import report_progress, show
from vio.errors import UsageError
from vio.layer import Op
from vio.printable import printable
from vio.quantity import parse_stretch_s

_FORMATS = "perfetto|csv|jsonl|otlp"
_NEXT = {"perfetto": "; open it in ui.perfetto.dev, which reads it in the browser and sends it nowhere"}

FormatName = Annotated[str, typer.Argument(metavar=_FORMATS, help="For Perfetto; tables; OpenTelemetry spans.")]
RecordingPath = Annotated[Path, typer.Argument(metavar="RECORDING", help="What `vio record` wrote.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to put it.")]
Ops = Annotated[list[Op] | None, typer.Option("--op", help="Only this operation; repeatable.")]
Disks = Annotated[list[str] | None, typer.Option("--disk", metavar="NAME", help="Only this disk; repeatable.")]
Between = Annotated[str, typer.Option(metavar="A:B", help="Only IOs begun then, from the recording's begin.")]


def add_export_command(app: typer.Typer) -> None:
    """Give the command line the command `export`."""

    @app.command("export")
    def export(
        form: FormatName,
        recording: RecordingPath,
        output: Output,
        ops: Ops = None,
        disks: Disks = None,
        between: Between = "",
    ) -> None:
        """Write a recording's IOs for another program: a viewer of traces, a spreadsheet, a database.

        A Perfetto trace of more than 256 MiB is written in pieces, FILE-000 and so on, each whole in itself.

        \b
        Examples:
          vio export perfetto web1.vio -o web1.pftrace
          vio export perfetto web1.vio --between 10s:12s -o slow.pftrace
          vio export csv web1.vio --op write -o writes.csv
          vio export otlp web1.vio -o web1.otlp.jsonl
        """
        if form not in _FORMATS.split("|"):
            raise UsageError(f"{printable(form)} is no format", f"one of {_FORMATS.replace('|', ', ')}")
        from vio.reporter.choice import Filter
        from vio.reporter.export.chosen import ChosenIos
        from vio.reporter.export.export import Format
        from vio.reporter.export.export import export as write

        choice = Filter(tuple(ops or ()), tuple(disks or ()), parse_stretch_s(between) if between else None)
        done = write(ChosenIos.of(recording, choice, report_progress()), Format(form), output)
        show(f"{done.sentence()}{_NEXT.get(form, '')}")
