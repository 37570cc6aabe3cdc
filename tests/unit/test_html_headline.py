"""The sentences at the top of the page."""

from dataclasses import replace
from pathlib import Path

import pytest
from lab.demo import SAMPLE
from tests.builders import a_stream
from tests.unit.test_report import recorded_at

from vio.reporter.html.headline import Headline, headlines, unjudged
from vio.reporter.report import ReportOptions, report, report_on
from vio.reporter.result import Report
from vio.reporter.text import answer
from vio.reporter.verdict.finding import Finding, NotJudged, Severity, Verdict


@pytest.fixture(scope="module")
def found() -> Report:
    return report(SAMPLE, ReportOptions(is_table_written=False))


def judged(found: Report, verdict: Verdict) -> Report:
    return replace(found, verdict=verdict)


def test_without_a_verdict_it_is_the_answer_of_the_text(found: Report) -> None:
    # rules that were never asked find nothing, which is no good news
    one = judged(found, Verdict())
    assert headlines(one) == [Headline(answer(found))]
    assert unjudged(one) == []


def test_without_ios_there_is_nothing_to_judge(tmp_path: Path) -> None:
    nothing = report_on(recorded_at(tmp_path), a_stream([]), ReportOptions(is_table_written=False))
    assert headlines(nothing) == [Headline("No IO was recorded.")]


def test_where_the_time_is_comes_first_then_problems_then_notes(found: Report) -> None:
    verdict = Verdict(
        where=(Finding("where", Severity.NOTE, "Writes are slow."),),
        findings=(
            Finding("small", Severity.NOTE, "It stands out."),
            Finding("big", Severity.PROBLEM, "The \u202edisk is ill.", command="vio report x"),
            Finding("big", Severity.PROBLEM, "So is another."),
        ),
        not_judged=(NotJudged("a", "no point", "vda"), NotJudged("b", "no point")),
        judged=("small", "big"),
    )
    assert headlines(judged(found, verdict)) == [
        Headline("Writes are slow."),
        Headline("The \\u202edisk is ill.", "problem", "big", "vio report x", ("So is another.",)),
        Headline("It stands out.", "note", "small"),
    ]
    assert unjudged(judged(found, verdict)) == ["a (vda), b: no point"]


def test_nothing_wrong_is_said(found: Report) -> None:
    assert headlines(judged(found, Verdict(judged=("a", "b")))) == [
        Headline("Nothing is wrong here: by 2 rules that were judged.", "well")
    ]
