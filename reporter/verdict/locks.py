"""The host's file system: locks of files, locks of a cluster, frozen file systems."""

from collections.abc import Iterator

from vio.layer import Layer, Op, Phase, Stage
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.finding import Finding, NotJudged, Severity

FILE_LOCK, CLUSTER_LOCK = "file-system-lock", "cluster-lock"
_CLUSTERED = "ocfs2"
_LOCKS = ("rw_lock", "inode_lock")
_LEAST_SHARE = 0.05


def file_lock(case: Case) -> Iterator[Finding | NotJudged]:
    """Find reads and writes that wait in the file system's code before it has queued any block."""
    if not case.observes(Layer.FS):
        yield NotJudged(FILE_LOCK, "the host's file system had no points")
        return
    for subject in case.of_ops(Op.READ, Op.WRITE):
        cost_ns = subject.time_ns(Stage.FS, phase=Phase.DOWN)
        severity = subject.severity(cost_ns)
        if severity is None:
            continue
        of_cluster = "; on OCFS2 another node may have it" if _is_clustered(case) else ""
        yield case.finding(
            FILE_LOCK,
            severity,
            subject,
            f"{subject.words} wait in the host's file system before their first block ({subject.cost(cost_ns)}): "
            "for the "
            "file's lock, which another write, an extension or a truncation of the image holds, or for an "
            f"allocation{of_cluster}",
            subject.numbers(cost_ns),
            "vio record --open fs ...",
        )


def cluster_lock(case: Case) -> Iterator[Finding | NotJudged]:
    """Find time in a cluster file system's locks, which another node may hold."""
    if not _is_clustered(case):
        return
    if not any(_is_lock(one.part) for one in case.recorded.manifest.points):
        yield NotJudged(CLUSTER_LOCK, "OCFS2 was not opened: vio record --open fs")
        return
    parts = case.report.parts
    if parts is None or not parts.has_points:
        yield NotJudged(CLUSTER_LOCK, f"the opened layers are read with --stages: {case.command('--stages')}")
        return
    total_ns = case.report.summary.total_ns
    for (_, name), one in parts.parts.items():
        share = one.own.total_ns / total_ns if total_ns else 0.0
        if not _is_lock(name) or share < _LEAST_SHARE:
            continue
        is_grave = share >= 0.25 and one.own.mean_ns >= 500_000
        yield Finding(
            CLUSTER_LOCK,
            Severity.PROBLEM if is_grave else Severity.NOTE,
            f"{one.own.count:,} IOs wait for OCFS2's {name} ({share_text(share)} of the time, "
            f"{time_text(one.own.mean_ns)} each, at most {time_text(one.own.max_ns)}): another node has the lock",
            numbers={
                "part": name,
                "io_count": one.own.count,
                "time_share": round(share, 4),
                "mean_ns": round(one.own.mean_ns),
                "max_ns": one.own.max_ns,
            },
            command=case.command("--stages"),
        )


def _is_clustered(case: Case) -> bool:
    return any(one.layer is Layer.FS and _CLUSTERED in one.attach for one in case.recorded.manifest.points)


def _is_lock(part: str) -> bool:
    return any(lock in part for lock in _LOCKS)
