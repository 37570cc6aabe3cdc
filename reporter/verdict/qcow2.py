"""qcow2's own work: tables that do not fit its cache, copies that fill new clusters."""

from collections.abc import Iterator

from vio.layer import Op
from vio.reporter.units import bytes_text
from vio.reporter.verdict.case import Case, Subject
from vio.reporter.verdict.finding import Finding, NotJudged, Severity

L2_CACHE, COPY_ON_WRITE = "qcow2-l2-cache", "copy-on-write"
_QCOW2 = "qcow2"
_AGAIN = 2
_AMPLIFIED = 4


def l2_cache(case: Case) -> Iterator[Finding | NotJudged]:
    """Find tables that are read again and again: what is used of the disk needs more of them than the cache holds."""
    for subject in _of_qcow2(case, Op.READ, Op.WRITE):
        tally = subject.tally
        if not tally.known["metadata_ns"]:
            yield _unknown(L2_CACHE, subject)
            continue
        severity = subject.severity(tally.sum_ns["metadata_ns"])
        if severity is None or not tally.metadata_reads:
            continue
        slices = len(tally.slices)
        is_again = tally.metadata_reads >= _AGAIN * slices
        numbers = subject.numbers(tally.sum_ns["metadata_ns"]) | {
            "metadata_read_count": tally.metadata_reads,
            "slice_count": slices,
        }
        cost = subject.cost(tally.sum_ns["metadata_ns"])
        why = (
            f"tables were read {tally.metadata_reads:,} times for {subject.count:,} IOs in {slices:,} stretches of "
            "32 MiB: the L2 cache is too small (l2-cache-size, or larger clusters)"
            if is_again
            else f"{tally.metadata_reads:,} reads, about once each: the cache was cold"
        )
        yield case.finding(
            L2_CACHE,
            severity if is_again else Severity.NOTE,
            subject,
            f"{subject.words} wait for qcow2's own tables ({cost}); {why}",
            numbers,
        )


def copy_on_write(case: Case) -> Iterator[Finding | NotJudged]:
    """Find first writes to clusters: the rest of each is read from a backing file, or written as zeroes."""
    for subject in _of_qcow2(case, Op.WRITE):
        tally = subject.tally
        if not tally.known["cow_ns"]:
            yield _unknown(COPY_ON_WRITE, subject)
            continue
        cost_ns, count = tally.sum_ns["cow_ns"], tally.some["cow_ns"]
        severity = subject.severity(cost_ns)
        if severity is None or not count:
            continue
        below = tally.fanout["device_bytes"]
        more = below / subject.group.bytes if subject.group.bytes else 0.0
        amplified = (
            f"; the devices moved {bytes_text(below)} for {bytes_text(subject.group.bytes)} written ({more:.1f} times)"
            if more >= _AMPLIFIED
            else ""
        )
        yield case.finding(
            COPY_ON_WRITE,
            severity,
            subject,
            f"{subject.words} fill new clusters, {count:,} of {subject.count:,}: copying the rest of the cluster is "
            f"{subject.cost(cost_ns)}{amplified}",
            subject.numbers(cost_ns) | {"copying_count": count, "amplification": round(more, 2)},
        )


def _of_qcow2(case: Case, *ops: Op) -> Iterator[Subject]:
    return (one for one in case.of_ops(*ops) if one.info is not None and one.info.format == _QCOW2)


def _unknown(rule: str, subject: Subject) -> NotJudged:
    return NotJudged(rule, "where the image's tables lie is not known: its map could not be taken", subject.name)
