"""A comparison for a terminal: the answer first, then what it rests on; plain when piped."""

from collections.abc import Iterator

from vio.comparer.answer import answer_lines, percent
from vio.comparer.comparison import Cell, Comparison, Doubt, Figure, Verdict
from vio.comparer.values import BESIDE, STATISTICS
from vio.printable import printable
from vio.reporter.grid import Grid, Style, wrapped
from vio.reporter.units import TimeUnit, bytes_text, time_text, unit_for

_SHOWN_PARTS = 12
_HEADS = ("base", "new", "change", "95 % interval", "")


def render_text(comparison: Comparison, *, is_terminal: bool = False) -> str:
    """Write a comparison as lines, tables included."""
    style = Style(is_terminal)
    is_bad = comparison.verdict in {Verdict.SLOWER, Verdict.NOT_COMPARABLE}
    first, *others = (printable(line) for line in answer_lines(comparison))
    blocks = [
        [style.warning(first) if is_bad else style.heading(first), *(w for line in others for w in wrapped(line))]
    ]
    blocks.append(list(_side_lines(comparison)))
    if comparison.doubts:
        blocks.append(list(_doubt_lines(comparison.doubts, style)))
    blocks += [list(_cell_lines(cell, style)) for cell in comparison.cells if not cell.refused]
    blocks.append(list(_closing_lines(comparison)))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _side_lines(comparison: Comparison) -> Iterator[str]:
    for name, side in (("base", comparison.base), ("new", comparison.new)):
        runs = f" ({len(side.runs)} runs)" if len(side.runs) > 1 else ""
        yield f"{name:5}{printable(side.path)}{runs}"
    for figure in comparison.beside:
        yield f"{figure.name}: {_plain(figure.name, figure.base)} -> {_plain(figure.name, figure.new)}"


def _plain(name: str, value: float) -> str:
    return f"{value:.1%}" if "share" in name else f"{value:,.1f}"


def _doubt_lines(doubts: tuple[Doubt, ...], style: Style) -> Iterator[str]:
    grid = Grid(("differs, or is wrong", "base", "new"), frozenset({0, 1, 2}))
    for doubt in doubts:
        grid.add(doubt.what, *(printable(text) for text in (doubt.base, doubt.new)))
    yield from grid.lines(style)


def _cell_lines(cell: Cell, style: Style) -> Iterator[str]:
    unit = unit_for(cell.mean.base)
    grid = Grid((f"{printable(cell.name)} ({unit.name})", *_HEADS), frozenset({0, 5}))
    for figure in cell.total:
        _add(grid, f"latency {figure.name}", figure, unit)
    yield from grid.lines(style)
    yield f"IOs: {cell.io_counts[0]:,} and {cell.io_counts[1]:,}"
    yield ""
    yield from _part_lines(cell, unit, style)
    yield ""
    yield from _beside_lines(cell, style)


def _part_lines(cell: Cell, unit: TimeUnit, style: Style) -> Iterator[str]:
    """Draw what each part adds to the change of the mean, and the changes of its quantiles."""
    grid = Grid(
        (f"adds to the mean ({unit.name})", *_HEADS[:2], "adds", "95 % interval", "", *STATISTICS[1:]),
        frozenset({0, 5}),
    )
    for part in cell.parts[:_SHOWN_PARTS]:
        mean, *quantiles = part.figures
        grid.add(
            part.name,
            unit.text(mean.base),
            unit.text(mean.new),
            f"{mean.difference / unit.ns:+,.1f}",
            _interval(mean, unit),
            _word(mean),
            *(_quantile(one) for one in quantiles),
        )
    rest = cell.parts[_SHOWN_PARTS:]
    if rest:
        sums = [sum(getattr(part.figures[0], name) for part in rest) for name in ("base", "new", "difference")]
        shown = (unit.text(sums[0]), unit.text(sums[1]), f"{sums[2] / unit.ns:+,.1f}")
        grid.add(f"{len(rest)} more (--json)", *shown, "", "", *[""] * (len(STATISTICS) - 1), is_lesser=True)
    mean = cell.mean
    total = (unit.text(mean.base), unit.text(mean.new), f"{mean.difference / unit.ns:+,.1f}")
    grid.add("all", *total, _interval(mean, unit), _word(mean), *(_quantile(one) for one in cell.total[1:]))
    yield from grid.lines(style)


def _quantile(figure: Figure) -> str:
    if figure.word == "refused":
        return "-"
    mark = {"slower": " slower", "faster": " faster"}.get(figure.word, "")
    return percent(figure.change) + mark


def _add(grid: Grid, name: str, figure: Figure, unit: TimeUnit) -> None:
    shown = (
        unit.text(figure.base),
        unit.text(figure.new),
        percent(figure.change),
        _interval_share(figure),
        _word(figure),
    )
    grid.add(name, *shown, is_lesser=figure.word == "refused")


def _word(figure: Figure) -> str:
    return f"{figure.word.value}{': ' + figure.why if figure.why else ''}"


def _interval(figure: Figure, unit: TimeUnit) -> str:
    if figure.low is None or figure.high is None:
        return "-"
    return f"{figure.low / unit.ns:+,.1f} to {figure.high / unit.ns:+,.1f}"


def _interval_share(figure: Figure) -> str:
    if figure.low is None or figure.high is None or not figure.base:
        return "-"
    return f"{percent(figure.low / figure.base)} to {percent(figure.high / figure.base)}"


def _beside_lines(cell: Cell, style: Style) -> Iterator[str]:
    grid = Grid(("beside", *_HEADS[:4]))
    for figure in cell.beside:
        grid.add(
            figure.name,
            *(beside_text(figure.name, v) for v in (figure.base, figure.new)),
            percent(figure.change),
            _interval_share(figure),
        )
    yield from grid.lines(style)


def beside_text(name: str, value: float) -> str:
    """Write a figure of values.BESIDE with its unit."""
    texts = (f"{value:,.0f}", f"{bytes_text(round(value))}/s", f"{value:.2f}", time_text(value))
    return dict(zip(BESIDE, texts, strict=True))[name]


def _closing_lines(comparison: Comparison) -> Iterator[str]:
    if comparison.verdict is Verdict.UNDECIDED:
        yield "More repeats decide more: give directories of recordings, 5 or more on each side."
    if any(cell.parts for cell in comparison.cells):
        yield "A part's mean is per IO, whether it went there or not: they add up. Quantiles: of those that did."
