"""Where the time goes, whether that is an illness or not: the sentences that stand first."""

from collections.abc import Iterator

from vio.layer import Phase, Stage
from vio.reporter.compiled import Ints
from vio.reporter.result import place_name
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case, Subject
from vio.reporter.verdict.finding import Finding, Number, Severity

RULE = "where"
_MOST = 3
_LEAST_SHARE = 0.2
_PLACES = [(stage, phase) for stage in Stage for phase in Phase]
_TAIL_IOS = 20


def where(case: Case) -> Iterator[Finding]:
    """Say of the disks and operations that take most of the time how slow they are, and in which layer."""
    total_ns = sum(one.total_ns for one in case.subjects)
    shown = [one for one in case.subjects if one.total_ns >= _LEAST_SHARE * total_ns][:_MOST]
    for subject in shown:
        p50, p99 = (subject.group.latency.quantile_ns(share) for share in (0.5, 0.99))
        place, share = _most(subject.group.times_ns.reshape(-1), subject.total_ns)
        numbers: dict[str, Number] = {
            "io_count": subject.count,
            "p50_ns": round(p50),
            "p99_ns": round(p99),
            "time_share": round(subject.total_ns / total_ns, 4),
            "place": place,
            "place_share": round(share, 4),
        }
        sentence = (
            f"{subject.words}: p50 {time_text(p50)}, p99 {time_text(p99)}; {share_text(share)} of their time in {place}"
        )
        if subject.count >= _TAIL_IOS:
            tail_place, tail_share = _most(subject.tally.tail_ns, int(subject.tally.tail_ns.sum()))
            numbers |= {"tail_place": tail_place, "tail_place_share": round(tail_share, 4)}
            if tail_place != place:
                sentence += f", and of the slowest hundredth's {share_text(tail_share)} in {tail_place}"
        yield case.finding(RULE, Severity.NOTE, subject, sentence, numbers, _slowest(case, subject))


def _most(times_ns: Ints, total_ns: int) -> tuple[str, float]:
    at = int(times_ns.argmax())
    return place_name(*_PLACES[at]), int(times_ns[at]) / total_ns if total_ns else 0.0


def _slowest(case: Case, subject: Subject) -> str:
    return f"{case.look_at(subject)} --slowest 3"
