"""What stands at the top of the page: the verdict where the report has one, else where the time goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from vio.printable import printable
from vio.reporter.result import Report
from vio.reporter.text import answer


class _Finding(Protocol):
    rule: str
    severity: str
    sentence: str
    command: str


class _NotJudged(Protocol):
    rule: str
    why: str
    disk: str


class _Verdict(Protocol):
    judged: Sequence[str]
    where: Sequence[_Finding]
    findings: Sequence[_Finding]
    not_judged: Sequence[_NotJudged]
    is_healthy: bool


@dataclass(frozen=True, slots=True)
class Headline:
    """A sentence; `severity` is problem, note or fine, `rule` what found it, `command` what shows more."""

    sentence: str
    severity: str = "note"
    rule: str = ""
    command: str = ""


def headlines(report: Report) -> list[Headline]:
    """Say what is wrong, or where the time goes."""
    found = _verdict(report)
    if not report.summary.groups:
        return [Headline("No IO was recorded." if report.choice.is_all else "No IO is of those chosen.")]
    if found is None:
        return [Headline(answer(report))] if report.summary.total_ns else []
    lines = [
        Headline(printable(one.sentence), str(one.severity), one.rule, printable(one.command)) for one in found.findings
    ]
    if found.is_healthy:
        lines.insert(0, Headline("Nothing is wrong here, as far as the rules could be judged.", "fine"))
    where = [Headline(printable(one.sentence), "note", "", printable(one.command)) for one in found.where]
    return [*lines, *where] or [Headline(answer(report))]


def unjudged(report: Report) -> list[str]:
    """List the rules that lack what they need, each with its reason."""
    found = _verdict(report)
    if found is None:
        return []
    return [printable(f"{one.rule}{f' ({one.disk})' if one.disk else ''}: {one.why}") for one in found.not_judged]


def _verdict(report: Report) -> _Verdict | None:
    found = cast(_Verdict | None, getattr(report, "verdict", None))
    return found if found and found.judged else None
