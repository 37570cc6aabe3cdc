"""`vio query` and `vio shell`: their options."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vio.cli_stream import complain, is_typed, read_all, read_line, report_progress, show
from vio.errors import ExitCode, UsageError

_HISTORY_LINES = 2000

Words = Annotated[
    list[str],
    typer.Argument(metavar="RECORDING... SQL", help="Recordings, then the query; `-`: from the input."),
]
Recordings = Annotated[list[Path], typer.Argument(metavar="RECORDING...", help="What `vio record` wrote.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Write CSV, with a line of names.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, an object a line.")]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write the result to a Parquet file.")]


def add_query_commands(app: typer.Typer) -> None:
    """Give the command line the commands `query` and `shell`."""

    @app.command("query")
    def query(words: Words, as_csv: AsCsv = False, as_json: AsJson = False, parquet: Parquet = None) -> None:
        """Ask a recording in SQL: views ios, spans, layers, links, losses, maps, writebacks, stages, recordings.

        Times are in ns. Of several recordings, the column `recording` tells the rows apart. docs/sql.md has the views
        and examples.

        \b
        Examples:
          vio query web1.vio "select op, count(*), max(latency_ns) from ios group by op"
          vio query web1.vio "select * from spans where io = 1234" --json
          vio query a.vio b.vio "select recording, stage, avg(own_ns) from spans group by all" --csv
        """
        if len(words) < 2:
            raise UsageError("a query needs a recording and SQL", 'vio query web1.vio "select count(*) from ios"')
        if as_csv + as_json + (parquet is not None) > 1:
            raise UsageError("--csv, --json and --parquet are three forms of one result", "give one of them")
        from vio.reporter.sql.database import Database
        from vio.reporter.sql.rows import Form, written

        text = read_all() if words[-1] == "-" else words[-1]
        with Database([Path(word) for word in words[:-1]], report_progress) as database:
            if parquet:
                count = database.write_parquet(text, parquet)
                show(f"{parquet}: {count:,} rows")
                return
            form = Form.CSV if as_csv else Form.JSON if as_json else Form.TABLE
            for piece in written(database.run(text), form):
                show(piece)

    @app.command("shell")
    def shell(recordings: Recordings) -> None:
        """Type SQL over recordings: as `vio query`, with a history. Reads a file of queries from a pipe too.

        \b
        Examples:
          vio shell web1.vio
          vio shell web1.vio < queries.sql
        """
        from vio.reporter.sql.database import Database
        from vio.reporter.sql.shell import Shell

        has_prompt = is_typed()
        with Database(recordings, report_progress) as database:
            if has_prompt:
                show("SQL over a recording: .help shows the commands, .views the views, Ctrl-D ends.")
                _keep_history()
            failed = Shell(database, read_line, show, complain).run()
        if failed and not has_prompt:
            raise typer.Exit(ExitCode.USAGE)


def _keep_history() -> None:
    """Remember what is typed, from one shell to the next; without readline, or a place for it, do without."""
    try:
        import atexit
        import readline
    except ImportError:
        return
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    file = Path(home) / "vio" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        readline.read_history_file(file)
    except OSError:
        return
    readline.set_history_length(_HISTORY_LINES)
    atexit.register(_write_history, file)


def _write_history(file: Path) -> None:
    import readline
    from contextlib import suppress

    with suppress(OSError):
        readline.write_history_file(file)
