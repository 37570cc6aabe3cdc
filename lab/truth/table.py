"""The table of a run, in Markdown."""

from collections.abc import Iterable

from lab.truth.attribution import Attribution
from lab.truth.play import Injection
from lab.truth.runner import Outcome, Result
from vio.reporter.waits import Wait

_HEAD = "| injection | injected ms | report adds ms | attribution | others | it waits | what changes most | IOs | |"


def figures(result: Result) -> str:
    """Give one row for each injection."""
    return "\n".join([_HEAD, "|---|---|---|---|---|---|---|---|---|", *(_row(one) for one in result.outcomes)])


def _row(outcome: Outcome) -> str:
    if outcome.judged is None:
        return f"| {outcome.injection.name} | | | | | | | | {outcome.problem} |"
    return row(outcome.injection.name, outcome.judged, outcome.injection.wait)


def row(name: str, judged: Attribution, wait: Wait | None = None) -> str:
    """Give the row of one judgement."""
    waited = f"{wait} {judged.waited:.1%}" if wait and judged.waited is not None else ""
    place, share = judged.largest
    verdict = "met" if judged.is_met else "**short**"
    return (
        f"| {name} | {judged.injected_ns / 1e6:.1f} | {judged.added_ns / 1e6:.1f} | {judged.attribution:.1%} "
        f"| {judged.spill:.1%} | {waited} | {place} {share:+.1%} | {judged.touched_count} | {verdict} |"
    )


def expectations(injections: Iterable[Injection]) -> str:
    """Say of each injection how it is made, what is expected and why, and what the truth is."""
    lines = ["| injection | how it is made | where it must go | because | the truth is from |", "|---|---|---|---|---|"]
    for one in injections:
        stages = dict.fromkeys(place.split(" ")[0] for place in one.expected)
        places = one.expected[0] if len(one.expected) == 1 else ", ".join(stages)
        lines.append(f"| {one.name} | {one.what} | {places or 'no layer of the host'} | {one.why} | {one.truth} |")
    return "\n".join(lines)
