"""Opened layers in the report's text: their parts, what is left of them, and the way of the IOs from point to point."""

from collections.abc import Iterator

from vio.layer import Stage
from vio.printable import printable
from vio.reporter.grid import Grid, Style
from vio.reporter.histogram import Distribution
from vio.reporter.hops import Hops
from vio.reporter.partsum import PartSummary
from vio.reporter.units import TimeUnit, share_text

_QUANTILES = (0.5, 0.9, 0.99)
_COLUMNS = 10


def part_lines(parts: PartSummary, whole: dict[Stage, Distribution], unit: TimeUnit, style: Style) -> Iterator[str]:
    """Write each opened layer with its parts: of the layer's own time, to whom it goes."""
    for stage in parts.stages:
        total_ns = whole[stage].total_ns if stage in whole else 0
        grid = Grid((f"{stage} opened ({unit.name})", "IOs", "times", "share", "mean", "p50", "p90", "p99", "max"))
        for name, figures in parts.parts_of(stage).items():
            if figures.is_mark:
                grid.add(f"  {printable(name)} (mark)", "-", f"{figures.span_count:,}", *["-"] * 6)
            else:
                _add(grid, f"  {printable(name)}", figures.own, f"{figures.span_count:,}", total_ns, unit)
        _add(grid, f"  rest of {stage}", parts.rest[stage], "-", total_ns, unit)
        if stage in whole:
            _add(grid, f"{stage}", whole[stage], "-", total_ns, unit)
        yield from grid.lines(style)
        count = sum(figures.open_count for figures in parts.parts_of(stage).values())
        if count:
            yield f"  {count:,} spans of parts without an end seen: their time is in the rest"
        yield ""
    yield "A part's own time: while its layer owns the time, and no part that began later in it is at work."


def _add(grid: Grid, name: str, part: Distribution, times: str, total_ns: int, unit: TimeUnit) -> None:
    if not part.count:
        grid.add(name, "0", times, *["-"] * 6)
        return
    share = share_text(part.total_ns / total_ns) if total_ns else "-"
    values = (part.mean_ns, *part.quantiles_ns(_QUANTILES), part.max_ns)
    grid.add(name, f"{part.count:,}", times, share, *(unit.text(value) for value in values))


def hop_lines(hops: Hops, rows: int, style: Style) -> Iterator[str]:
    """Write the time from point to point, one row for each IO by its place on the device, in us."""
    if len(hops.points) < 2:
        return
    yield style.heading("points on the way")
    for number, point in enumerate(hops.points):
        yield f"  #{number} {printable(point)}"
    shown = hops.rows[:rows]
    last = len(hops.points) - 1
    for first in range(0, last, _COLUMNS):
        columns = range(first, min(first + _COLUMNS, last))
        yield ""
        grid = Grid(("us from point to point", *(f"#{at}-#{at + 1}" for at in columns)))
        for row in shown:
            place = f"IO {row.io}" if row.device_offset is None else f"{row.device_offset:#x}"
            grid.add(place, *(_hop_text(row.hops_ns[at]) for at in columns))
        grid.add("cnt", *(str(hops.count[at]) for at in columns))
        grid.add("avg", *(_mean_text(int(hops.total_ns[at]), int(hops.count[at])) for at in columns))
        grid.add("min", *(_hop_text(int(hops.least_ns[at]) if hops.count[at] else -1) for at in columns))
        grid.add("max", *(_hop_text(int(hops.most_ns[at]) if hops.count[at] else -1) for at in columns))
        yield from grid.lines(style)
    if len(hops.rows) > len(shown):
        yield f"  the first {len(shown)} IOs are shown; cnt, avg, min and max are of all"


def _hop_text(time_ns: int) -> str:
    return "-" if time_ns < 0 else f"{time_ns / 1000:,.1f}"


def _mean_text(total_ns: int, count: int) -> str:
    return _hop_text(total_ns // count if count else -1)
