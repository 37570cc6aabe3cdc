"""What stands at the top of the page: the verdict where the report has one, else where the time goes."""

from collections.abc import Iterator
from dataclasses import dataclass

from vio.printable import printable
from vio.reporter.result import Report
from vio.reporter.text import answer
from vio.reporter.verdict.finding import Finding, Verdict


@dataclass(frozen=True, slots=True)
class Headline:
    """A sentence; `kind` is time, problem, note or well, `rule` what found it, `command` what shows more.

    `others` are the sentences of the same rule that weigh less.
    """

    sentence: str
    kind: str = "time"
    rule: str = ""
    command: str = ""
    others: tuple[str, ...] = ()


def headlines(report: Report) -> list[Headline]:
    """Say where the time goes, what is wrong, and what else stands out."""
    if not report.summary.groups:
        return [Headline("No IO was recorded." if report.choice.is_all else "No IO is of those chosen.")]
    verdict = _verdict(report)
    if verdict is None:
        return [Headline(answer(report))] if report.summary.total_ns else []
    where = [Headline(printable(one.sentence), command=printable(one.command)) for one in verdict.where]
    return [*where, *_found(verdict), *_well(verdict)]


def unjudged(report: Report) -> list[str]:
    """List what the rules lack that could not be judged, each with the rules that lack it."""
    verdict = _verdict(report)
    by_why: dict[str, list[str]] = {}
    for one in verdict.not_judged if verdict else ():
        by_why.setdefault(one.why, []).append(f"{one.rule} ({one.disk})" if one.disk else one.rule)
    return [printable(f"{', '.join(rules)}: {why}") for why, rules in by_why.items()]


def _found(verdict: Verdict) -> Iterator[Headline]:
    by_rule: dict[tuple[str, str], list[Finding]] = {}
    for one in verdict.findings:
        by_rule.setdefault((str(one.severity), one.rule), []).append(one)
    for (severity, rule), (first, *others) in sorted(by_rule.items(), key=lambda one: one[0][0] != "problem"):
        more = tuple(printable(one.sentence) for one in others)
        yield Headline(printable(first.sentence), severity, rule, printable(first.command), more)


def _well(verdict: Verdict) -> Iterator[Headline]:
    if verdict.is_healthy:
        noted = "what is noted costs little" if verdict.findings else f"by {len(verdict.judged)} rules that were judged"
        yield Headline(f"Nothing is wrong here: {noted}.", "well")


def _verdict(report: Report) -> Verdict | None:
    return report.verdict if report.verdict.judged else None
