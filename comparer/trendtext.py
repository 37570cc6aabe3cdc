"""A trend as text, JSON and picture."""

from pathlib import Path

from vio.comparer.answer import percent
from vio.comparer.trend import MIN_POINTS, Trend
from vio.errors import OutputError
from vio.printable import printable
from vio.reporter.grid import Grid, Style
from vio.reporter.units import unit_for

_BAR = 40


def trend_text(trend: Trend) -> str:
    """Write a line for each baseline; a changed level is marked."""
    largest = max(point.value_ns for point in trend.points)
    unit = unit_for(trend.points[0].value_ns)
    changes = [at for at, point in enumerate(trend.points) if point.is_change]
    lines = [f"{trend.figure}: {_sentence(trend, changes)}", ""]
    heads = ("baseline", "started (UTC)", "runs", f"{trend.figure} ({unit.name})", "", "")
    grid = Grid(heads, frozenset({0, 1, 4, 5}))
    for at, point in enumerate(trend.points):
        bar = "#" * max(1, round(_BAR * point.value_ns / largest)) if largest else ""
        mark = f"<- {percent(point.level_ns / trend.points[at - 1].level_ns - 1)}" if point.is_change else ""
        name = printable(Path(point.path).name)
        grid.add(name, point.started, str(point.run_count), unit.text(point.value_ns), bar, mark)
    lines += grid.lines(Style())
    lines += [f"without this figure: {printable(path)}" for path in trend.skipped]
    return "\n".join(lines)


def _sentence(trend: Trend, changes: list[int]) -> str:
    if len(trend.points) < MIN_POINTS:
        return f"{len(trend.points)} baselines are too few to see a change point ({MIN_POINTS} are needed)"
    if not changes:
        return f"no change point in {len(trend.points)} baselines"
    names = ", ".join(printable(Path(trend.points[at].path).name) for at in changes)
    return f"changed at {names}"


def trend_data(trend: Trend) -> dict[str, object]:
    """Return what json.dump takes."""
    points = [
        {
            "path": point.path,
            "started": point.started,
            "runs": point.run_count,
            "value_ns": point.value_ns,
            "least_ns": point.least_ns,
            "largest_ns": point.largest_ns,
            "level_ns": point.level_ns,
            "is_change": point.is_change,
        }
        for point in trend.points
    ]
    return {"figure": trend.figure, "points": points, "skipped": list(trend.skipped)}


def save_trend(trend: Trend, path: Path) -> None:
    """Save a picture.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    unit = unit_for(trend.points[0].value_ns)
    at = range(len(trend.points))
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    values = [point.value_ns / unit.ns for point in trend.points]
    spread = [
        [(point.value_ns - point.least_ns) / unit.ns for point in trend.points],
        [(point.largest_ns - point.value_ns) / unit.ns for point in trend.points],
    ]
    axes.errorbar(at, values, yerr=spread, fmt="o", color="#0072B2", ecolor="#BBBBBB", label="mean and range of runs")
    axes.step(at, [point.level_ns / unit.ns for point in trend.points], where="mid", color="#D55E00", label="level")
    for number, point in enumerate(trend.points):
        if point.is_change:
            axes.axvline(number - 0.5, color="#D55E00", linestyle=":")
    axes.set_xticks(list(at), [printable(Path(point.path).stem) for point in trend.points], rotation=45, ha="right")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{trend.figure} ({unit.name})")
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written: {error}", "give a .png, .svg or .pdf") from None
