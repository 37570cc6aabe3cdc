"""The verdict for a terminal: sentences, the weightiest first."""

from collections.abc import Iterator, Sequence

from vio.printable import printable
from vio.reporter.grid import Style, wrapped
from vio.reporter.verdict.case import LEAST_IOS, PLURALS
from vio.reporter.verdict.finding import Finding, NotJudged, Severity, Verdict

_SHOWN = {Severity.PROBLEM: 6, Severity.NOTE: 4}
_HEADS = {Severity.PROBLEM: "problem    ", Severity.NOTE: "note       "}
_LACKING = "not judged "
_INDENT = " " * 11
_WIDTH = 98
_ALSO = 3


def verdict_lines(verdict: Verdict, style: Style) -> Iterator[str]:
    """Write the verdict."""
    if not verdict.where:
        yield from _found(verdict, style)
        yield from _sentence(_LACKING, f"every other rule: no operation on a disk has {LEAST_IOS} IOs that ended")
        return
    for number, one in enumerate(verdict.where):
        yield from _sentence("time       " if not number else _INDENT, one.sentence)
    yield from _found(verdict, style)
    if not verdict.findings:
        yield from _sentence(
            "well       ", f"nothing is wrong here, by {len(verdict.judged)} rules that could be judged"
        )
    elif verdict.is_healthy:
        yield from _sentence("well       ", "nothing is wrong here: what is noted costs little")
    yield from _lacking(verdict.not_judged)


def _found(verdict: Verdict, style: Style) -> Iterator[str]:
    for severity, most in _SHOWN.items():
        by_rule: dict[str, list[Finding]] = {}
        for one in verdict.findings:
            if one.severity is severity:
                by_rule.setdefault(one.rule, []).append(one)
        for mine in list(by_rule.values())[:most]:
            yield from _rule_lines(mine, style)
        if len(by_rule) > most:
            yield f"{_INDENT}... and {len(by_rule) - most} more (all of them: --json)"


def _rule_lines(mine: Sequence[Finding], style: Style) -> Iterator[str]:
    """Write what a rule found: the weightiest in full, of the others where they are."""
    first, *others = mine
    also = f"; also {', '.join(_words_of(one) for one in others[:_ALSO])}" if others else ""
    more = f" and {len(others) - _ALSO} more" if len(others) > _ALSO else ""
    lines = list(_sentence(_HEADS[first.severity], f"{first.rule}: {first.sentence}{also}{more}"))
    is_problem = first.severity is Severity.PROBLEM
    yield from (style.warning(line) if is_problem else line for line in lines)
    if is_problem and first.command:
        yield style.lesser(f"{_INDENT}more: {printable(first.command)}")


def _lacking(not_judged: Sequence[NotJudged]) -> Iterator[str]:
    by_why: dict[str, list[str]] = {}
    for one in not_judged:
        of = f" ({one.disk})" if one.disk else ""
        by_why.setdefault(one.why, []).append(f"{one.rule}{of}")
    for number, (why, rules) in enumerate(by_why.items()):
        head = _LACKING if not number else _INDENT
        yield from _sentence(head, f"{', '.join(rules)}: {why}")


def _sentence(head: str, sentence: str) -> Iterator[str]:
    first, *rest = wrapped(printable(sentence), width=_WIDTH - len(_INDENT), indent="")
    yield f"{head}{first}"
    yield from (f"{_INDENT}{line}" for line in rest)


def _words_of(one: Finding) -> str:
    return f"{PLURALS.get(one.op, one.op)} of {one.disk}" if one.op else "all"
