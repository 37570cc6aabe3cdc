"""`vio bench`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from vio.cli_stream import complain, show, show_drawn, show_json
from vio.errors import UsageError
from vio.printable import printable

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="What to run: a TOML file, docs/benching.md.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to put the recordings.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A value of the scenario; repeatable.")
]
Repeats = Annotated[
    int | None, typer.Option("--repeats", metavar="N", min=1, help="Runs of each setting, instead of the scenario's.")
]
IsAa = Annotated[bool, typer.Option("--aa", help="Setting a against itself only: what is this machine's noise?")]
IsResumed = Annotated[bool, typer.Option("--resume", help="Go on with a bench that was broken off.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def add_bench_command(app: typer.Typer) -> None:
    """Give the command line the command `bench`."""

    @app.command("bench")
    def bench_scenario(
        scenario: ScenarioFile,
        output: Output = Path("bench"),
        settings: Settings = None,
        repeats: Repeats = None,
        aa: IsAa = False,
        resume: IsResumed = False,
        as_json: AsJson = False,
    ) -> None:
        """Run a load under two settings in turn, record each run, and say which is slower, where, and how sure that is.

        Before, setting a is run against itself: this machine's noise says which change can be seen. The scenario's
        commands run as root, as vio does to record: look at a scenario before you run it. No shell is used.

        \b
        Examples:
          sudo vio bench examples/bench/cache.toml -o cache-bench
          sudo vio bench examples/bench/cache.toml -o cache-bench --resume
          sudo vio bench examples/bench/cache.toml --aa
        """
        from vio.bencher.bench import bench
        from vio.bencher.machine import bench_data
        from vio.bencher.options import BenchOptions
        from vio.bencher.text import bench_text
        from vio.comparer.text import render_text

        values = dict(_pair(text) for text in settings or ())
        options = BenchOptions(scenario, output, values, repeats, is_aa=aa, is_resumed=resume)
        result = bench(options, complain)
        if as_json:
            show_json(bench_data(result))
        else:
            if result.comparison:
                show(render_text(result.comparison))
            show_drawn(bench_text(result))
        raise typer.Exit(result.exit_code)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {printable(text)} sets nothing", "write it as --set NAME=VALUE")
    return name, value
