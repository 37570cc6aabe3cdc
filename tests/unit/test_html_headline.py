"""The sentences at the top of the page."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.demo import SAMPLE
from tests.unit.test_report import Stream, recorded_at

from vio.reporter.html.headline import Headline, headlines, unjudged
from vio.reporter.report import ReportOptions, report, report_on
from vio.reporter.result import Report
from vio.reporter.text import answer


@dataclass
class Finding:
    rule: str
    severity: str
    sentence: str
    command: str = ""


@dataclass
class NotJudged:
    rule: str
    why: str
    disk: str = ""


@dataclass
class Verdict:
    where: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    not_judged: list[NotJudged] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    is_healthy: bool = True


class Judged(Report):
    """A report that has a verdict."""

    verdict: Verdict


@pytest.fixture(scope="module")
def found() -> Report:
    return report(SAMPLE, ReportOptions(is_table_written=False))


def judged(found: Report, verdict: Verdict) -> Report:
    with_verdict = Judged(found.recorded, found.summary, found.quality, found.choice, found.slowest, found.unended)
    with_verdict.verdict = verdict
    return with_verdict


def test_without_a_verdict_it_is_the_answer_of_the_text(found: Report) -> None:
    # rules that were never asked find nothing, which is no good news
    for one in (found, judged(found, Verdict())):
        assert headlines(one) == [Headline(answer(found))]
        assert unjudged(one) == []


def test_without_ios_there_is_nothing_to_judge(tmp_path: Path) -> None:
    nothing = report_on(recorded_at(tmp_path), Stream([]), ReportOptions(is_table_written=False))
    assert headlines(nothing) == [Headline("No IO was recorded.")]


def test_where_the_time_is_comes_first_then_problems_then_notes(found: Report) -> None:
    verdict = Verdict(
        where=[Finding("where", "note", "Writes are slow.")],
        findings=[
            Finding("small", "note", "It stands out."),
            Finding("big", "problem", "The \u202edisk is ill.", "vio report x"),
            Finding("big", "problem", "So is another."),
        ],
        not_judged=[NotJudged("a", "no point", "vda"), NotJudged("b", "no point")],
        judged=["small", "big"],
        is_healthy=False,
    )
    assert headlines(judged(found, verdict)) == [
        Headline("Writes are slow."),
        Headline("The \\u202edisk is ill.", "problem", "big", "vio report x", ("So is another.",)),
        Headline("It stands out.", "note", "small"),
    ]
    assert unjudged(judged(found, verdict)) == ["a (vda), b: no point"]


def test_nothing_wrong_is_said(found: Report) -> None:
    assert headlines(judged(found, Verdict(judged=["a", "b"]))) == [
        Headline("Nothing is wrong here: by 2 rules that were judged.", "well")
    ]
