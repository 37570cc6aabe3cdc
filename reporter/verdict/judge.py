"""Judge a report by all rules."""

from vio.reporter.busy import Busy
from vio.reporter.result import Report
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.device import DEVICE
from vio.reporter.verdict.finding import Finding, NotJudged, Severity, Verdict
from vio.reporter.verdict.guest import HUNG
from vio.reporter.verdict.rules import RULES
from vio.reporter.verdict.tally import Tallies
from vio.reporter.verdict.where import where

_WEIGHT = {Severity.PROBLEM: 0, Severity.NOTE: 1}


def judge(report: Report, tallies: Tallies, busy: Busy | None) -> Verdict:
    """Say what stands out in a report that is complete."""
    case = Case.of(report, tallies, busy)
    findings: list[Finding] = []
    not_judged: list[NotJudged] = []
    judged = []
    for rule in RULES:
        said = list(rule.judge(case))
        findings += [one for one in said if isinstance(one, Finding)]
        lacking = [one for one in said if isinstance(one, NotJudged)]
        not_judged += lacking
        if not any(one.disk == "" for one in lacking):
            judged.append(rule.name)
    findings.sort(key=_order)
    return Verdict(tuple(where(case)), tuple(findings), tuple(dict.fromkeys(not_judged)), tuple(judged))


def _order(finding: Finding) -> tuple[int, bool, bool, float]:
    """Problems first, what hangs before all; a slow device, which its cause makes slow as well, after the cause."""
    share = finding.numbers.get("time_share")
    rank = -share if isinstance(share, float) else 0.0
    return _WEIGHT[finding.severity], finding.rule != HUNG, finding.rule == DEVICE, rank
