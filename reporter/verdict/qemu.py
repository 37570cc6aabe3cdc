"""Inside QEMU: what it holds back, and how it hands IO to the kernel."""

from collections.abc import Iterator

from vio.layer import Layer, Op, Phase, Stage
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case, Subject
from vio.reporter.verdict.finding import Finding, NotJudged, Severity

THROTTLE, WAIT, WORKERS = "qemu-throttle", "qemu-wait", "worker-threads"
_EVEN = 0.7
_LEAST_HELD = 8
_ASYNCHRONOUS = frozenset({"native", "io_uring"})
_NOTED, _GRAVE = 0.05, 0.5
_NO_POINTS = "QEMU's block layer had no points"


def throttle(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that wait in QEMU's block layer before their first access to a file, and go on at an even pace."""
    if not case.observes(Layer.QEMU_BLOCK):
        yield NotJudged(THROTTLE, _NO_POINTS)
        return
    for subject, cost_ns in _held(case):
        severity = subject.severity(cost_ns)
        if severity is None or not _is_even(subject):
            continue
        interval_ns = subject.tally.released.mean_ns
        yield case.finding(
            THROTTLE,
            severity,
            subject,
            f"{subject.words} are held back in QEMU ({subject.cost(cost_ns)}) and let go every "
            f"{time_text(interval_ns)}, "
            f"{1e9 / interval_ns:,.0f} a second: throttling of the disk or of its group",
            subject.numbers(cost_ns) | {"interval_ns": round(interval_ns)},
            "virsh blkdeviotune DOMAIN DISK",
        )


def wait(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that wait in QEMU's block layer for something else: another's allocation or tables, a drain."""
    if not case.observes(Layer.QEMU_BLOCK):
        yield NotJudged(WAIT, _NO_POINTS)
        return
    for subject, cost_ns in _held(case):
        severity = subject.severity(cost_ns)
        if severity is None or _is_even(subject):
            continue
        is_qcow2 = subject.info is not None and subject.info.format == "qcow2"
        for_what = (
            "for clusters or tables that another IO is allocating or reading (qcow2: preallocate, larger L2 cache)"
            if is_qcow2
            else "for IOs that overlap, or for a job or drain of the disk"
        )
        yield case.finding(
            WAIT,
            severity,
            subject,
            f"{subject.words} wait in QEMU's block layer before their first access to a file "
            f"({subject.cost(cost_ns)}): " + for_what,
            subject.numbers(cost_ns),
        )


def workers(case: Case) -> Iterator[Finding | NotJudged]:
    """Find reads and writes that worker threads do, though aio=native or io_uring was asked for."""
    subjects = [one for one in case.of_ops(Op.READ, Op.WRITE) if one.info and one.info.aio in _ASYNCHRONOUS]
    if subjects and not (case.tallies.has_fanout and case.observes(Layer.QEMU_AIO)):
        yield NotJudged(WORKERS, "where QEMU hands IO to the kernel there were no points")
        return
    for subject in subjects:
        handed, pooled = (subject.tally.fanout[name] for name in ("handed", "pooled"))
        share = pooled / handed if handed else 0.0
        if share < _NOTED:
            continue
        asked = subject.info.aio if subject.info else ""
        yield case.finding(
            WORKERS,
            Severity.PROBLEM if share >= _GRAVE else Severity.NOTE,
            subject,
            f"{pooled:,} of {handed:,} {subject.words} ({share_text(share)}) are done by worker threads, though "
            f"aio={asked} "
            "was asked for: the kernel refused it (fs.aio-max-nr), or the memory was not aligned",
            {
                "io_count": subject.count,
                "handed_count": handed,
                "worker_count": pooled,
                "worker_share": round(share, 4),
            },
            "cat /proc/sys/fs/aio-nr /proc/sys/fs/aio-max-nr",
        )


def _held(case: Case) -> Iterator[tuple[Subject, int]]:
    for subject in case.subjects:
        cost_ns = subject.time_ns(Stage.QEMU_BLOCK, phase=Phase.DOWN)
        # what waited for a CPU, or was stopped, was not held back
        waited_ns = subject.tally.sum_ns["runqueue_ns"] + subject.tally.sum_ns["stopped_ns"]
        yield subject, max(cost_ns - waited_ns, 0)


def _is_even(subject: Subject) -> bool:
    pace = subject.tally.released
    return pace.count >= _LEAST_HELD and pace.variation is not None and pace.variation < _EVEN
