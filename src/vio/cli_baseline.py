"""`vio baseline` and `vio trend`: their options."""

from pathlib import Path
from typing import Annotated

import typer

from vio.cli_stream import show, show_json
from vio.errors import UsageError

Source = Annotated[Path, typer.Argument(metavar="RUNS", help="A recording, a directory of repeats, or a baseline.")]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="Where to save it; .viobase is added.")]
Baseline = Annotated[Path, typer.Argument(metavar="BASELINE", help="What `vio baseline save` wrote.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where baselines lie.")]
Several = Annotated[list[Path], typer.Argument(metavar="BASELINE...", help="Baselines, or a directory of them.")]
FigureName = Annotated[
    str,
    typer.Option("--figure", metavar="[DISK.]OP[.PART].FIGURE", help="read.mean, write.device.p99 ..."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Save a picture (.png, .svg, .pdf).")]


def add_baseline_commands(app: typer.Typer) -> None:
    """Give the command line `baseline save|list|show`."""
    baseline = typer.Typer(help="Keep the figures of runs in small files, to compare with later.", no_args_is_help=True)
    app.add_typer(baseline, name="baseline")

    @baseline.command("save")
    def save(runs: Source, target: Target, force: Force = False) -> None:
        """Save the figures of runs: distributions by disk, operation and size, without any IO.

        \b
        Example:
          vio baseline save runs/ baselines/main
        """
        from vio.comparer.baseline import save_baseline
        from vio.comparer.recordings import BASELINE_SUFFIX
        from vio.comparer.sides import runs_at
        from vio.reporter.units import bytes_text

        path = target if target.name.endswith(BASELINE_SUFFIX) else target.with_name(target.name + BASELINE_SUFFIX)
        found = runs_at(runs)
        size = save_baseline(found, path, force=force)
        show(f"{path}: {len(found)} run{'s' * (len(found) != 1)}, {bytes_text(size)}; next: vio compare {path} NEW")

    @baseline.command("list")
    def list_all(directory: Directory = Path(), as_json: AsJson = False) -> None:
        """List the baselines of a directory, oldest first."""
        from vio.comparer.listing import listing_data, listing_text

        if as_json:
            show_json(listing_data(directory))
        else:
            show(listing_text(directory))

    @baseline.command("show")
    def show_one(baseline: Baseline, as_json: AsJson = False) -> None:
        """Show what a baseline is of, and its figures."""
        from vio.comparer.listing import baseline_data, baseline_text

        if as_json:
            show_json(baseline_data(baseline))
        else:
            show(baseline_text(baseline))


def add_trend_command(app: typer.Typer) -> None:
    """Give the command line the command `trend`."""

    @app.command("trend")
    def trend(baselines: Several, figure: FigureName = "", as_json: AsJson = False, plot: Plot = None) -> None:
        """Show one figure over many baselines, oldest first, with the points marked at which it changed.

        \b
        Example:
          vio trend baselines/ --figure write.p99
        """
        from vio.comparer.trend import trend_of
        from vio.comparer.trendtext import save_trend, trend_data, trend_text

        if not baselines:
            raise UsageError("no baseline was given", "vio trend baselines/")
        found = trend_of(baselines, figure)
        if plot:
            save_trend(found, plot)
        if as_json:
            show_json(trend_data(found))
        else:
            show(trend_text(found))
