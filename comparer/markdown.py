"""A comparison as Markdown, for the comment of a pull request: the answer, and tables behind a fold."""

from collections.abc import Iterator

from vio.comparer.answer import answer_lines, percent
from vio.comparer.comparison import Cell, Comparison, Figure, Verdict
from vio.printable import printable
from vio.reporter.units import TimeUnit, unit_for

_SHOWN_PARTS = 8
_MARKS = {
    Verdict.SAME: "✅",
    Verdict.FASTER: "✅",
    Verdict.SLOWER: "❌",
    Verdict.UNDECIDED: "❔",
    Verdict.NOT_COMPARABLE: "⛔",
}
_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_[]<>|#"})


def render_markdown(comparison: Comparison) -> str:
    """Write the comparison as Markdown."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    first, *others = answer_lines(comparison)
    yield f"### {_MARKS[comparison.verdict]} {_plain(first)}"
    yield ""
    yield from (f"- {_plain(line)}" for line in others)
    yield ""
    if comparison.doubts:
        yield "| differs, or is wrong | base | new |"
        yield "|---|---|---|"
        for doubt in comparison.doubts:
            yield f"| {_plain(doubt.what)} | {_plain(doubt.base)} | {_plain(doubt.new)} |"
        yield ""
    for cell in comparison.cells:
        if not cell.refused:
            yield from _cell_lines(cell)


def _cell_lines(cell: Cell) -> Iterator[str]:
    unit = unit_for(cell.mean.base)
    yield f"<details><summary>{_plain(cell.name)}: {cell.io_counts[0]:,} and {cell.io_counts[1]:,} IOs</summary>"
    yield ""
    yield f"| latency ({unit.name}) | base | new | change | 95 % interval | |"
    yield "|---|---:|---:|---:|---:|---|"
    yield from (_row(figure.name, figure, unit) for figure in cell.total)
    yield ""
    yield f"| adds to the mean ({unit.name}) | base | new | adds | |"
    yield "|---|---:|---:|---:|---|"
    for part in cell.parts[:_SHOWN_PARTS]:
        mean = part.figures[0]
        values = f"{unit.text(mean.base)} | {unit.text(mean.new)} | {mean.difference / unit.ns:+,.1f}"
        yield f"| {_plain(part.name)} | {values} | {mean.word} |"
    yield ""
    yield "</details>"
    yield ""


def _row(name: str, figure: Figure, unit: TimeUnit) -> str:
    interval = "-"
    if figure.low is not None and figure.high is not None and figure.base:
        interval = f"{percent(figure.low / figure.base)} to {percent(figure.high / figure.base)}"
    word = f"{figure.word.value}{': ' + figure.why if figure.why else ''}"
    values = f"{unit.text(figure.base)} | {unit.text(figure.new)} | {percent(figure.change)}"
    return f"| {name} | {values} | {interval} | {word} |"


def _plain(text: str) -> str:
    """Let nothing from outside be markup."""
    return printable(text).translate(_SPECIAL)
