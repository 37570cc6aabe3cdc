"""The shape of the IOs: misaligned ones, those that could have been one, those that became several."""

from collections.abc import Iterator

from vio.layer import Layer, Op
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.case import Case, Subject
from vio.reporter.verdict.finding import Finding, NotJudged, Number, Severity

MISALIGNED, MERGES, SPLIT = "misaligned-writes", "merges-missed", "requests-split"
_NOTED, _GRAVE = 0.05, 0.25
_SPLIT_PIECES = 1.5
_MANY_PIECES = 4
_LEAST_SPLIT_BYTES = 8192


def misaligned(case: Case) -> Iterator[Finding | NotJudged]:
    """Find writes that are not whole units of 4 KiB at whole addresses: what is below must read before it writes."""
    for subject in case.of_ops(Op.WRITE):
        tally = subject.tally
        share = tally.odd / subject.count
        if share < _NOTED:
            continue
        mean_ns = tally.odd_ns / tally.odd
        others = subject.count - tally.odd
        others_ns = (subject.total_ns - tally.odd_ns) / others if others else None
        beside = f", the others {time_text(others_ns)}" if others_ns is not None else ""
        yield case.finding(
            MISALIGNED,
            Severity.PROBLEM if share >= _GRAVE else Severity.NOTE,
            subject,
            f"{tally.odd:,} of {subject.count:,} {subject.words} ({share_text(share)}) are not of whole 4 KiB: "
            "they take "
            f"{time_text(mean_ns)}{beside}; file systems lock for them, and what has larger sectors reads before "
            "it writes",
            {
                "io_count": subject.count,
                "misaligned_count": tally.odd,
                "misaligned_share": round(share, 4),
                "misaligned_mean_ns": round(mean_ns),
                "other_mean_ns": None if others_ns is None else round(others_ns),
            },
        )


def merges_missed(case: Case) -> Iterator[Finding | NotJudged]:
    """Find small IOs, each beginning where one that is still in flight ends: they could have been fewer."""
    for subject in case.of_ops(Op.READ, Op.WRITE):
        run = subject.tally.run
        share = run.count / subject.count
        if share < _NOTED:
            continue
        severity = Severity.PROBLEM if share >= _GRAVE else Severity.NOTE
        size = subject.group.bytes // max(subject.group.io_count, 1)
        merged = f"; QEMU merged {run.joined:,}" if run.joined else ""
        yield case.finding(
            MERGES,
            severity,
            subject,
            f"{run.count:,} of {subject.count:,} {subject.words} ({share_text(share)}) of {size:,} bytes begin "
            "where one "
            f"in flight ends, and were not merged with it{merged}: the guest's IO scheduler, or larger IOs, would "
            "save them",
            {
                "io_count": subject.count,
                "adjacent_count": run.count,
                "adjacent_share": round(share, 4),
                "merged_count": run.joined,
                "mean_bytes": size,
            },
        )


def requests_split(case: Case) -> Iterator[Finding | NotJudged]:
    """Find IOs that became several: by the image's clusters, the file's extents, or the device's limits."""
    if not case.tallies.has_fanout:
        yield NotJudged(SPLIT, "what the IOs became below is not in this report")
        return
    if not case.observes(Layer.BLOCK):
        yield NotJudged(SPLIT, "the host's block layer had no points")
    for subject in case.of_ops(Op.READ, Op.WRITE):
        causes = _causes(subject)
        if not causes:
            continue
        pieces = max(number for _, number in causes)
        numbers: dict[str, Number] = {"io_count": subject.count, "split_count": subject.tally.split}
        numbers |= {name: subject.tally.fanout[name] for name in ("handed", "bios", "cut", "requests")}
        size = subject.group.bytes // max(subject.group.io_count, 1)
        yield case.finding(
            SPLIT,
            Severity.PROBLEM if pieces >= _MANY_PIECES and _is_most(subject) else Severity.NOTE,
            subject,
            f"{subject.tally.split:,} of {subject.count:,} {subject.words}, {size:,} bytes each, are split "
            + ", ".join(words for words, _ in causes),
            numbers,
        )


def _is_most(subject: Subject) -> bool:
    return subject.tally.split * 2 >= subject.count


def _causes(subject: Subject) -> list[tuple[str, float]]:
    """Return what splits, in words, and into how many."""
    handed, bios, cut = (subject.tally.fanout[name] for name in ("handed", "bios", "cut"))
    if subject.group.bytes < _LEAST_SPLIT_BYTES * subject.group.io_count:
        return []
    handed -= subject.tally.metadata_reads
    carriers = max(subject.count - subject.tally.run.joined, 1)
    found = []
    if handed / carriers >= _SPLIT_PIECES and 2 * subject.tally.some["cow_ns"] < subject.count:
        found.append((f"by the image's clusters (into {handed / carriers:.1f})", handed / carriers))
    if handed and bios / handed >= _SPLIT_PIECES:
        found.append((f"by the file system, where extents end (into {bios / handed:.1f})", bios / handed))
    if bios and (bios + cut) / bios >= _SPLIT_PIECES:
        found.append((f"by the device's limit (into {(bios + cut) / bios:.1f})", (bios + cut) / bios))
    return found
