"""QEMU's threads: busy all the time, not scheduled, stopped, late to notice."""

from collections.abc import Iterator

from vio.layer import Layer, Phase
from vio.reporter.units import share_text
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.finding import Finding, NotJudged, Severity
from vio.reporter.verdict.tally import LATE

SATURATED, NOT_SCHEDULED, STOPPED, COMPLETION = (
    "thread-saturated",
    "thread-not-scheduled",
    "thread-stopped",
    "completion-delay",
)
_FULL = 0.85
_LEAST_NS = 5_000_000
_STOPPED_SHARE = 0.05
_NOT_RECORDED = "when threads ran was not recorded (the scheduler's tracepoints)"


def saturated(case: Case) -> Iterator[Finding | NotJudged]:
    """Find threads that take IOs and hardly ever sleep: then IOs wait for the thread."""
    if case.busy is None:
        yield NotJudged(SATURATED, _NOT_RECORDED)
        return
    seen: set[int] = set()
    for subject in case.subjects:
        tid, count = max(subject.tally.tids.items(), key=lambda item: item[1])
        if tid in seen or subject.tally.active_ns < _LEAST_NS:
            continue
        seen.add(tid)
        share = case.busy.share(tid, subject.tally.first_ns, subject.tally.last_ns)
        lacks_cpu = subject.severity(subject.tally.sum_ns["runqueue_ns"]) is Severity.PROBLEM
        if share < _FULL or lacks_cpu:
            continue
        role = case.recorded.manifest.target.threads.get(str(tid), "") or "thread"
        yield case.finding(
            SATURATED,
            Severity.PROBLEM,
            subject,
            f"{role} {tid}, which took {count:,} {subject.words}, was busy {share_text(share)} of the time: it has "
            "none left (an iothread for each disk, or several queues, would share the work)",
            {"tid": tid, "io_count": count, "busy_share": round(share, 4)},
        )


def not_scheduled(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs whose thread could run and had no CPU."""
    yield from _waits(
        case,
        NOT_SCHEDULED,
        "runqueue_ns",
        "threads that could run waited for a CPU: other work has it (pin, isolate, or weigh the threads)",
    )


def stopped(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs during which QEMU was stopped, by a signal or a debugger."""
    yield from _waits(case, STOPPED, "stopped_ns", "QEMU was stopped (SIGSTOP, a debugger, a freezer)", _STOPPED_SHARE)


def _waits(case: Case, rule: str, name: str, why: str, least_share: float = 0.0) -> Iterator[Finding | NotJudged]:
    if case.report.waits is None:
        yield NotJudged(rule, _NOT_RECORDED)
        return
    for subject in case.subjects:
        cost_ns = subject.tally.sum_ns[name]
        severity = subject.severity(cost_ns)
        if least_share and subject.share(cost_ns) >= least_share:
            severity = Severity.PROBLEM
        if severity is None:
            continue
        count = subject.tally.some[name]
        yield case.finding(
            rule,
            severity,
            subject,
            f"{subject.words}: {why}, for {subject.cost(cost_ns)} ({count:,} IOs)",
            subject.numbers(cost_ns) | {"waiting_count": count},
        )


def completion(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that were done below, and that QEMU had not noticed or not yet told the guest."""
    if not case.observes(Layer.QEMU_AIO):
        yield NotJudged(COMPLETION, "where QEMU hands IO to the kernel there were no points")
        return
    for subject in case.subjects:
        # what other rules say of this time already is left out
        cost_ns = subject.time_ns(*LATE, phase=Phase.UP) - subject.tally.explained_ns
        severity = subject.severity(cost_ns)
        if severity is None:
            continue
        known = "" if case.report.waits else "; whether it had a CPU was not recorded"
        yield case.finding(
            COMPLETION,
            severity,
            subject,
            f"{subject.words} are complete below and QEMU is late to see it, {subject.cost(cost_ns)}: its thread "
            "is busy "
            f"with other things, or asleep{known}",
            subject.numbers(cost_ns) | {"wakeup_mean_ns": round(subject.mean_ns(subject.tally.sum_ns["wakeup_ns"]))},
        )
