"""`vio compare`: its options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vio.cli_baseline import add_baseline_commands, add_trend_command
from vio.cli_stream import is_coloured, plain_progress, show, show_json

if TYPE_CHECKING:
    from vio.comparer.compare import Loaded
    from vio.comparer.options import CompareOptions

Base = Annotated[Path, typer.Argument(metavar="BASE", help="A recording, a directory of repeats, or a baseline.")]
New = Annotated[Path, typer.Argument(metavar="NEW", help="The same, of what is to be judged.")]
MinEffect = Annotated[str, typer.Option("--min-effect", metavar="N%", help="The smallest change that matters.")]
FalseAlarms = Annotated[
    str, typer.Option("--false-alarms", metavar="N%", help="Of comparisons of equals, how many may find any change.")
]
RunNoise = Annotated[
    str, typer.Option("--run-noise", metavar="N%", help="With one run a side: by how much two runs may differ anyhow.")
]
FailOn = Annotated[list[str] | None, typer.Option("--fail-on", metavar="RULE", help="'write.p99 > 10%'; repeatable.")]
BySize = Annotated[bool, typer.Option("--by-size", help="Compare IOs of each size by themselves.")]
Normalise = Annotated[bool, typer.Option("--normalise", help="Compare IOs of the same size and depth.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 2 where nothing is decided.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML with a [compare] table.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for CI.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")]


def add_compare_commands(app: typer.Typer) -> None:
    """Give the command line `compare`, `baseline` and `trend`."""
    _add_compare_command(app)
    add_baseline_commands(app)
    add_trend_command(app)


def _load(base: Path, new: Path, options: "CompareOptions") -> "Loaded":
    from vio.comparer.readers import reading_runs
    from vio.comparer.recordings import recordings_in

    recordings = [*recordings_in(base), *recordings_in(new)]
    with reading_runs(recordings, with_depth=options.is_normalised) as readers:
        # Only now: while others work, the imports cost nothing.
        from vio.comparer.compare import load
        from vio.ownprocess import keep_memory

        if recordings:
            keep_memory()
        return load(base, new, options, plain_progress(), readers)


def _add_compare_command(app: typer.Typer) -> None:
    @app.command("compare")
    def compare_runs(
        base: Base,
        new: New,
        min_effect: MinEffect = "",
        false_alarms: FalseAlarms = "",
        run_noise: RunNoise = "",
        fail_on: FailOn = None,
        by_size: BySize = False,
        normalise: Normalise = False,
        strict: Strict = False,
        config: Config = None,
        as_json: AsJson = False,
        as_markdown: AsMarkdown = False,
        junit: Junit = None,
        html: Html = None,
    ) -> None:
        """Say whether the new side is slower than the base, in which layer, by how much, and how sure that is.

        Repeats are what makes it sure: give directories of 5 or more recordings. Exits with 0 if the new side is the
        same or better, 1 if it is slower, 2 if undecided and --strict, 3 if the two cannot be compared.

        \b
        Examples:
          vio compare before.vio after.vio
          vio compare before/ after/ --fail-on 'write.p99 > 10%' --junit vio.xml
          vio compare main.viobase after/ --markdown
        """
        from vio.comparer.settings import Given, options_of

        given = Given(min_effect, false_alarms, run_noise, tuple(fail_on or ()), by_size, normalise, strict)
        options = options_of(given, config)
        loaded = _load(base, new, options)

        from vio.comparer.compare import compare_loaded
        from vio.comparer.text import render_text

        found = compare_loaded(loaded, options)
        if junit:
            from vio.comparer.junit import write_junit

            write_junit(found, junit, is_strict=options.is_strict)
        if html:
            from vio.comparer.page import write_page

            write_page(found, loaded, html, is_by_class=options.is_by_size or options.is_normalised)
        if as_json:
            from vio.comparer.machine import render_json

            show_json(render_json(found))
        elif as_markdown:
            from vio.comparer.markdown import render_markdown

            show(render_markdown(found).rstrip("\n"))
        else:
            show(render_text(found, is_terminal=is_coloured()).rstrip("\n"))
        raise typer.Exit(found.exit_code(is_strict=options.is_strict))
