"""Towards the guest: how it is told, how its requests are taken, how many it has in flight; and what never ended."""

from collections.abc import Iterator

from vio.layer import Op
from vio.reporter.units import time_text
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.finding import Finding, NotJudged, Severity
from vio.reporter.waits import Wait

INTERRUPT, KICK, QUEUE, HUNG = "interrupt-delay", "kick-delay", "guest-queue", "not-completed"
_DEEP = 32
_GRAVE_SHARE, _LONG_NS = 0.25, 200_000
_HUNG_NS = 1_000_000_000


def interrupt(case: Case) -> Iterator[Finding | NotJudged]:
    """Find long times from telling the guest until a virtual CPU took the interrupt: after the IO's end, not in it."""
    yield from _outside(
        case, INTERRUPT, Wait.INJECT, "until a virtual CPU took the interrupt: it did not run, or the guest masks it"
    )


def kick(case: Case) -> Iterator[Finding | NotJudged]:
    """Find long times from the guest's kick until QEMU took the request: before the IO's begin, not in it."""
    yield from _outside(case, KICK, Wait.KICK, "from the guest's kick until QEMU's thread took the request")


def _outside(case: Case, rule: str, wait: Wait, why: str) -> Iterator[Finding | NotJudged]:
    if case.report.waits is None:
        yield NotJudged(rule, "when threads ran was not recorded (the scheduler's tracepoints)")
        return
    subjects = [one for one in case.subjects if one.tally.known[wait.column]]
    if case.subjects and not subjects:
        why_not = {
            Wait.INJECT: "no interrupt was seen to be taken: no KVM, or posted interrupts",
            Wait.KICK: "no kick of a virtual CPU was seen to wake a thread: no guest, or its thread was awake",
        }
        yield NotJudged(rule, why_not[wait])
        return
    for subject in subjects:
        mean_ns = subject.tally.sum_ns[wait.column] / subject.tally.known[wait.column]
        if mean_ns < _LONG_NS or mean_ns < _GRAVE_SHARE * subject.group.latency.mean_ns:
            continue
        yield case.finding(
            rule,
            Severity.PROBLEM if mean_ns >= subject.group.latency.mean_ns else Severity.NOTE,
            subject,
            f"{subject.words}: {time_text(mean_ns)} {why}, beside {time_text(subject.group.latency.mean_ns)} of an IO",
            {
                "io_count": subject.tally.known[wait.column],
                "mean_ns": round(mean_ns),
                "latency_mean_ns": round(subject.group.latency.mean_ns),
            },
        )


def queue(case: Case) -> Iterator[Finding | NotJudged]:
    """Find disks with so many IOs in flight that they wait for each other; what the guest still holds is not seen."""
    for disk in case.disks:
        subjects = [one for one in case.of_disk(disk) if one.op is not Op.FLUSH]
        if not subjects:
            continue
        first_ns, last_ns = min(one.tally.first_ns for one in subjects), max(one.tally.last_ns for one in subjects)
        depth = sum(one.total_ns for one in subjects) / max(last_ns - first_ns, 1)
        if depth < _DEEP:
            continue
        yield case.finding(
            QUEUE,
            Severity.NOTE,
            subjects[0],
            f"{subjects[0].name} has {depth:.0f} IOs in flight on average: at that depth latency is mostly "
            "waiting for each "
            "other, in whichever layer is the narrowest; the guest may hold more that the host cannot see",
            {"in_flight": round(depth, 1), "io_count": sum(one.count for one in subjects)},
            case.command(),
        )


def hung(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that had not completed when the recording stopped, a second or more after they began."""
    unended = case.report.unended
    if not unended.num_rows:
        return
    oldest_ns = case.recorded.stop_ns - int(unended["begin_ns"][0].as_py())
    if oldest_ns < _HUNG_NS:
        return
    count = case.report.summary.total().unended_count
    yield Finding(
        HUNG,
        Severity.PROBLEM,
        f"{count:,} IOs had not completed when the recording stopped; the oldest, IO {unended['io'][0].as_py()}, was "
        f"{time_text(oldest_ns)} old",
        numbers={"io_count": count, "oldest_ns": oldest_ns},
        command=case.command("--in-flight"),
    )
