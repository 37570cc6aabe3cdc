"""Rules of a gate: 'write.p99 > 10%' fails when the change is shown to be there, and is as large as that."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vio.comparer.comparison import Cell, Figure, RuleResult, Word
from vio.comparer.statistics import adjust_p
from vio.comparer.values import BESIDE, STATISTICS
from vio.errors import UsageError

_RULE = re.compile(
    r"(?P<place>.+)\.(?P<figure>mean|p50|p90|p99|p99\.9|iops|throughput)\s*(?P<sign>[<>])\s*(?P<limit>-?\d+(?:\.\d+)?)\s*%"
)
_BESIDE = {"iops": BESIDE[0], "throughput": BESIDE[1]}


@dataclass(frozen=True, slots=True)
class Rule:
    """`place` is an operation, a disk and an operation, or either and a layer; `limit` is a share, with its sign."""

    text: str
    place: str
    figure: str
    is_above: bool
    limit: float


def parse_rule(text: str) -> Rule:
    """Read a rule: [DISK.]OP[.LAYER].FIGURE > N% or < -N%.

    Raises:
        UsageError: it is none.
    """
    found = _RULE.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"--fail-on {text!r} is no rule", f"write it as 'write.p99 > 10%' ({', '.join((*STATISTICS, *_BESIDE))})"
        )
    return Rule(text.strip(), found["place"], found["figure"], found["sign"] == ">", float(found["limit"]) / 100)


def apply_rules(rules: Sequence[Rule], cells: Sequence[Cell], false_alarms: float) -> tuple[RuleResult, ...]:
    """Judge the rules, and these figures alone: false alarms are shared among them only.

    Raises:
        UsageError: a rule names nothing that was compared.
    """
    chosen = [(rule, cell, figure) for rule in rules for cell, figure in _chosen(rule, cells)]
    p = np.array([np.nan if figure.p is None else figure.p for _, _, figure in chosen])
    return tuple(
        _result(rule, cell, figure, float(adjusted), false_alarms)
        for (rule, cell, figure), adjusted in zip(chosen, adjust_p(p), strict=True)
    )


def _chosen(rule: Rule, cells: Sequence[Cell]) -> list[tuple[Cell, Figure]]:
    found = []
    for cell in cells:
        for place, figures in _places(cell):
            if place == rule.place:
                name = _BESIDE.get(rule.figure, rule.figure)
                found += [(cell, one) for one in (*figures, *cell.beside) if one.name == name]
    if not found:
        known = sorted({place for cell in cells for place, _ in _places(cell)})
        raise UsageError(
            f"--fail-on {rule.text!r} names nothing that can be compared",
            f"there are: {', '.join(known[:12]) or 'none'}",
        )
    return found


def _places(cell: Cell) -> list[tuple[str, tuple[Figure, ...]]]:
    if not cell.total:
        return []
    parts = {part.name: part.figures for part in cell.parts}
    op = f"{cell.op}[{cell.size}]" if cell.size else cell.op
    names = (cell.op, op, f"{cell.disk}.{cell.op}", f"{cell.disk}.{op}")
    return [
        (name + suffix, figures)
        for name in dict.fromkeys(names)
        for suffix, figures in [("", cell.total), *((f".{part}", figures) for part, figures in parts.items())]
    ]


def _result(rule: Rule, cell: Cell, figure: Figure, adjusted: float, false_alarms: float) -> RuleResult:
    change = figure.change
    if figure.word is Word.REFUSED or change is None:
        return RuleResult(rule.text, cell.name, figure, is_broken=False, is_undecided=True)
    low, high = (figure.difference if end is None else end for end in (figure.low, figure.high))
    is_found = adjusted / 2 <= false_alarms
    is_beyond = change > rule.limit if rule.is_above else change < rule.limit
    # Within the limit only if the whole interval is.
    far = (high if rule.is_above else low) / figure.base
    is_within = far <= rule.limit if rule.is_above else far >= rule.limit
    word = Word.UNDECIDED
    if is_found and is_beyond:
        word = Word.SLOWER
    elif is_within:
        word = Word.SAME
    result = replace(figure, word=word)
    return RuleResult(rule.text, cell.name, result, word is Word.SLOWER, word is Word.UNDECIDED)
