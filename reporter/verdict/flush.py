"""Flushes: what they cost, and the journal behind them."""

from collections.abc import Iterator

from vio.layer import Layer, Op, Stage
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.finding import Finding, NotJudged, Severity

BOUND, JOURNAL = "flush-bound", "flush-journal"
_BOUND_SHARE, _LONG_NS = 0.3, 1_000_000
_NOTED_SHARE = 0.1
_FS = (Stage.FS, Stage.LOOP_FS)


def flush_bound(case: Case) -> Iterator[Finding | NotJudged]:
    """Find disks whose time is mostly waiting for flushes."""
    for subject in case.of_ops(Op.FLUSH):
        others = [one for one in case.of_disk(subject.disk) if one is not subject]
        total_ns = subject.total_ns + sum(one.total_ns for one in others)
        share, mean_ns = subject.total_ns / total_ns if total_ns else 0.0, subject.group.latency.mean_ns
        if share < _NOTED_SHARE or mean_ns < _LONG_NS:
            continue
        writes = sum(one.count for one in others if one.op is Op.WRITE)
        yield case.finding(
            BOUND,
            Severity.PROBLEM if share >= _BOUND_SHARE else Severity.NOTE,
            subject,
            f"{subject.words} are {share_text(share)} of the disk's time, {time_text(mean_ns)} each: {subject.count:,} "
            f"for {writes:,} writes",
            {
                "io_count": subject.count,
                "write_count": writes,
                "disk_time_share": round(share, 4),
                "mean_ns": round(mean_ns),
            },
        )


def flush_journal(case: Case) -> Iterator[Finding | NotJudged]:
    """Find flushes that wait in the host's file system, as for a commit of its journal by the journal's own thread."""
    subjects = list(case.of_ops(Op.FLUSH))
    if subjects and not case.observes(Layer.FS):
        yield NotJudged(JOURNAL, "the host's file system had no points")
        return
    for subject in subjects:
        cost_ns = subject.time_ns(*_FS)
        severity = subject.severity(cost_ns)
        if severity is None:
            continue
        yield case.finding(
            JOURNAL,
            severity,
            subject,
            f"{subject.words} wait in the host's file system ({subject.cost(cost_ns)}), not for IO of their own: "
            "the commit "
            "of its journal, as after writes that allocate (preallocate the image, or take the journal's load away)",
            subject.numbers(cost_ns),
        )
