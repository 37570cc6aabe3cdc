"""The verdict for machines: `verdict` and `not_judged` of docs/report-json.md."""

from vio.reporter.verdict.finding import Finding, NotJudged, Verdict

Json = dict[str, object]


def verdict_data(verdict: Verdict) -> list[Json]:
    """Return all findings, those that say where the time goes first."""
    return [_finding(one) for one in (*verdict.where, *verdict.findings)]


def not_judged_data(verdict: Verdict) -> list[Json]:
    """Return the rules that could not be judged."""
    return [_lacking(one) for one in verdict.not_judged]


def _finding(one: Finding) -> Json:
    return {
        "rule": one.rule,
        "severity": one.severity.value,
        "disk": one.disk or None,
        "op": one.op or None,
        "sentence": one.sentence,
        "numbers": dict(one.numbers),
        "command": one.command or None,
    }


def _lacking(one: NotJudged) -> Json:
    return {"rule": one.rule, "disk": one.disk or None, "why": one.why}
