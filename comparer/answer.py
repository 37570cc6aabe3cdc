"""The answer in words: the first lines of every form of output."""

from collections.abc import Iterator

from vio.comparer.comparison import Cell, Comparison, Figure, Verdict, Word
from vio.reporter.units import time_text

_SENTENCES = {
    Verdict.SAME: "SAME: no latency differs by more than what matters.",
    Verdict.FASTER: "FASTER: the new side is faster than the base.",
    Verdict.SLOWER: "SLOWER: the new side is slower than the base.",
    Verdict.UNDECIDED: "UNDECIDED: neither a change nor its absence can be shown with these runs.",
    Verdict.NOT_COMPARABLE: "NOT COMPARABLE: no operation can be compared; what differs is said below.",
}
_BY_RULE = {
    Verdict.SAME: "PASSED: no --fail-on rule is broken.",
    Verdict.SLOWER: "FAILED: a --fail-on rule is broken.",
    Verdict.UNDECIDED: "UNDECIDED: a --fail-on rule is neither broken nor kept for certain.",
}


def answer_lines(comparison: Comparison) -> Iterator[str]:
    """Say what has been found, a sentence on each line; names from outside are not yet made printable."""
    by_rule = comparison.rules and comparison.verdict in _BY_RULE
    yield (_BY_RULE if by_rule else _SENTENCES)[comparison.verdict]
    for rule in comparison.rules:
        state = "broken" if rule.is_broken else "undecided" if rule.is_undecided else "kept"
        yield f"{rule.rule}: {state}: {rule.cell}: {change_text(rule.figure)}"
    for cell in comparison.cells:
        yield cell_sentence(cell)
    yield _strength(comparison)


def cell_sentence(cell: Cell) -> str:
    """Say in a sentence what became of one disk and operation."""
    if cell.refused:
        return f"{cell.name}: not compared: {cell.refused}"
    figure = cell.found
    if figure is None:
        word = "the same" if cell.mean.word is Word.SAME else "undecided"
        return f"{cell.name}: {word}: mean {time_change_text(cell.mean)}"
    also = [f"{one.name} {percent(one.change)}" for one in cell.total if one.word is figure.word and one is not figure]
    sentence = f"{cell.name}: {figure.word}: {figure.name} {time_change_text(figure)}"
    sentence += f"; also {', '.join(also)}" if also else ""
    part = cell.culprit(figure)
    if part is None:
        return sentence
    at = cell.total.index(figure)
    added = part.figures[at].difference
    share = f", {added / figure.difference:.0%} of the change" if figure is cell.mean else ""
    return f"{sentence}. Most of it in {part.name}: {signed_time(added)}{share}"


def _strength(comparison: Comparison) -> str:
    base, new = len(comparison.base.runs), len(comparison.new.runs)
    if comparison.is_weak:
        return "WEAK: one run a side. Blocks of its time stand for repeats; what differs from run to run is not seen."
    weaker = " WEAK: fewer than 3 on a side." if min(base, new) < 3 else ""
    return f"{base} run{'s' * (base != 1)} against {new}.{weaker}"


def time_change_text(figure: Figure) -> str:
    """Write a time's change with both values."""
    return f"{change_text(figure)}, {time_text(figure.base)} -> {time_text(figure.new)}"


def change_text(figure: Figure) -> str:
    """Write a figure's change in per cent, with its interval."""
    text = percent(figure.change)
    if figure.low is None or figure.high is None or not figure.base:
        return text
    return f"{text} ({percent(figure.low / figure.base)} to {percent(figure.high / figure.base)})"


def percent(share: float | None) -> str:
    """Write a change in per cent, with its sign."""
    return "-" if share is None or share != share else f"{share:+.1%}"


def signed_time(time_ns: float) -> str:
    """Write a difference of times."""
    return f"{'+' if time_ns >= 0 else ''}{time_text(time_ns)}"
