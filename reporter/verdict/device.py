"""Below the file system: the device itself, queues before it, mapped devices, limits of control groups."""

from collections.abc import Iterator

from vio.layer import Layer, Phase, Stage
from vio.reporter.partsum import PartSummary
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case, Subject
from vio.reporter.verdict.finding import Finding, NotJudged, Severity

DEVICE, QUEUE, MAPPER, CGROUP = "device", "host-queue", "device-mapper", "cgroup-throttle"
_DEVICE = (Stage.DEVICE, Stage.LOOP_FS, Stage.LOOP_BLOCK, Stage.LOOP_DEVICE)
_SLOW_NS = 5_000_000
_SLOW_SHARE = 0.5
_SEVERAL = 1.5
_IDLE = 0.6
_LEAST_HELD = 8
_NO_POINTS = "the host's block layer had no points"


def device(case: Case) -> Iterator[Finding | NotJudged]:
    """Find devices that take long for a request: 5 ms is more than a disk of any kind needs when it is well."""
    if not case.observes(Layer.DEVICE):
        yield NotJudged(DEVICE, "the host's devices had no points")
        return
    for subject in case.subjects:
        cost_ns = subject.time_ns(*_DEVICE)
        if subject.mean_ns(cost_ns) < _SLOW_NS or subject.share(cost_ns) < _SLOW_SHARE:
            continue
        depth = cost_ns / subject.tally.active_ns
        beside = (
            f"; it has {depth:.1f} of them at once, one in {time_text(subject.mean_ns(cost_ns) / depth)}"
            if depth > _SEVERAL
            else ""
        )
        yield case.finding(
            DEVICE,
            Severity.PROBLEM,
            subject,
            f"the device itself is slow: {subject.words} are in {case.device_names(subject)} for "
            f"{subject.cost(cost_ns)}{beside}",
            subject.numbers(cost_ns) | {"device": case.device_names(subject), "in_device": round(depth, 2)},
        )


def host_queue(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that wait in the host's IO scheduler, or for a place in the device's queue."""
    if not case.observes(Layer.BLOCK):
        yield NotJudged(QUEUE, _NO_POINTS)
        return
    for subject, cost_ns in _waiting(case):
        if _is_held(subject) or _is_mapped(case, subject):
            continue
        severity = subject.severity(cost_ns)
        if severity is None:
            continue
        queued_ns = subject.tally.queued_ns
        where = (
            f"the IO scheduler of {case.device_names(subject)}" if queued_ns * 2 >= cost_ns else "front of the device"
        )
        yield case.finding(
            QUEUE,
            severity,
            subject,
            f"{subject.words} queue in {where} ({subject.cost(cost_ns)}): the device is busy "
            f"{share_text(_load(subject))} "
            "of the time with what went before",
            subject.numbers(cost_ns) | {"device_load": round(_load(subject), 3)},
        )


def cgroup_throttle(case: Case) -> Iterator[Finding | NotJudged]:
    """Find bios that the host holds back though their device has nothing to do for this disk."""
    if not case.observes(Layer.BLOCK):
        yield NotJudged(CGROUP, _NO_POINTS)
        return
    for subject, cost_ns in _waiting(case):
        if not _is_held(subject) or _is_mapped(case, subject):
            continue
        severity = subject.severity(cost_ns)
        if severity is None:
            continue
        yield case.finding(
            CGROUP,
            severity,
            subject,
            f"{subject.words} are held back before {case.device_names(subject)} ({subject.cost(cost_ns)}), "
            f"{_rate(subject)}, "
            f"though it is at work for them only {share_text(_load(subject))} of the time: a limit of QEMU's "
            "control group "
            "(io.max, blkio.throttle)",
            subject.numbers(cost_ns)
            | {"device_load": round(_load(subject), 3), "rate": round(_per_second(subject), 1)},
            "cat /sys/fs/cgroup/*/io.max",
        )


def device_mapper(case: Case) -> Iterator[Finding | NotJudged]:
    """Find time that passes in mapped devices (device mapper, md): encryption, copies, delays, waiting for a path."""
    if not case.observes(Layer.BLOCK):
        yield NotJudged(MAPPER, _NO_POINTS)
        return
    for subject in case.subjects:
        cost_ns = subject.time_ns(Stage.BLOCK)
        severity = subject.severity(cost_ns)
        if severity is None or not _is_mapped(case, subject):
            continue
        steps = _steps(case.report.parts)
        named = ", ".join(f"{name} {time_text(mean_ns)}" for name, mean_ns in steps[:2])
        yield case.finding(
            MAPPER,
            severity,
            subject,
            f"{subject.words} spend {subject.cost(cost_ns)} in mapped devices above {case.device_names(subject)}"
            + (f" (mean by device: {named})" if named else ""),
            subject.numbers(cost_ns),
            case.command("--stages") if case.report.parts and case.report.parts.has_points else "",
        )


def _waiting(case: Case) -> Iterator[tuple[Subject, int]]:
    return ((one, one.time_ns(Stage.BLOCK, phase=Phase.DOWN)) for one in case.subjects)


def _load(subject: Subject) -> float:
    """Return for how much of its time the device was at work on the subject's IOs, at most 1."""
    return min(subject.time_ns(*_DEVICE) / subject.tally.active_ns, 1.0)


def _is_held(subject: Subject) -> bool:
    """Tell what is held back from what queues: it is not in the scheduler, and the device has nothing else to do."""
    is_scheduled = subject.tally.queued_ns * 2 >= subject.time_ns(Stage.BLOCK, phase=Phase.DOWN)
    return subject.tally.issued.count >= _LEAST_HELD and not is_scheduled and _load(subject) < _IDLE


def _per_second(subject: Subject) -> float:
    return subject.count * 1e9 / subject.tally.active_ns


def _rate(subject: Subject) -> str:
    return f"{_per_second(subject):,.1f} a second"


def _is_mapped(case: Case, subject: Subject) -> bool:
    """Tell whether a mapped device lies above the device that the subject's requests go to."""
    devices = case.recorded.manifest.devices
    wanted, grew = set(subject.tally.devices), True
    while grew:
        above = {one.kernel_dev for one in devices if wanted & set(one.parents)}
        grew = bool(above - wanted)
        wanted |= above
    return any(one.kernel_dev in wanted and one.kind in ("dm", "md") for one in devices)


def _steps(parts: PartSummary | None) -> list[tuple[str, float]]:
    """Return the steps of mapped devices by their share of the time, with their means."""
    if parts is None:
        return []
    steps = [(name, one.own) for name, one in parts.parts_of(Stage.BLOCK).items() if one.own.count]
    steps.sort(key=lambda item: -item[1].total_ns)
    return [(name, own.mean_ns) for name, own in steps if own.mean_ns > 0]
