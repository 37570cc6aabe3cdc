"""The head of the report: what was lost first, then what was recorded, and how much of it was followed whole."""

from collections.abc import Iterator

from vio.layer import Op
from vio.losses import Loss
from vio.printable import printable
from vio.reporter.grid import Grid, Style, wrapped
from vio.reporter.group import Group
from vio.reporter.recorded import Recorded, stretches
from vio.reporter.result import Report
from vio.reporter.units import bytes_text, share_text, time_text
from vio.schema import LOSS_KINDS

_SHOWN_LOSSES = 8
_KINDS = {**LOSS_KINDS, "segment": "a file of events is damaged or gone"}


def loss_lines(recorded: Recorded, style: Style) -> Iterator[str]:
    """Say what was lost, and when; nothing when nothing was."""
    if recorded.losses:
        known = sum(loss.records for loss in recorded.losses if loss.records > 0)
        is_more = any(loss.records < 0 for loss in recorded.losses)
        amount = f"{'at least ' if is_more else ''}{known:,} records"
        yield style.warning(f"LOST: {amount}. IOs of these stretches of time may lack layers, or be absent:")
        joined = stretches(recorded.losses)
        for loss in joined[:_SHOWN_LOSSES]:
            yield from (f"  {line}" for line in wrapped(_loss_text(loss, recorded), 96))
        if len(joined) > _SHOWN_LOSSES:
            yield f"  ... and {len(joined) - _SHOWN_LOSSES} more stretches (all of them: --json)"
    if recorded.is_cut:
        yield style.warning(f"ENDED: {printable(recorded.end_text)}")


def _loss_text(loss: Loss, recorded: Recorded) -> str:
    count = f"{loss.records:,}" if loss.records >= 0 else "unknown number"
    span = f"{recorded.second(loss.from_ns):.3f} s to {recorded.second(loss.to_ns):.3f} s"
    meaning = _KINDS.get(loss.kind, loss.kind)
    return f"{span}: {count} at {printable(loss.where)} ({meaning})"


def recorded_lines(report: Report) -> Iterator[str]:
    """Say what was recorded, and which points were absent."""
    recorded = report.recorded
    ended = f", {printable(recorded.end_text)}" if recorded.end_text and not recorded.is_cut else ""
    yield f"recording  {printable(recorded.path)}: {recorded.started_text}, {recorded.duration_s:.3f} s{ended}"
    yield f"target     {printable(recorded.target_text)}"
    yield f"host       {printable(recorded.host_text)}"
    for number, disk in enumerate(recorded.manifest.target.disks):
        words = ", ".join(word for word in (disk.format, f"cache={disk.cache}", f"aio={disk.aio}") if word)
        why = "" if disk.is_recorded else f"; not recorded: {disk.why_not}"
        yield f"{'disks' if not number else '':9}  {printable(f'{disk.name}: {disk.path} ({words}){why}')}"
    if not report.choice.is_all:
        yield f"chosen     {printable(report.choice.words)}"
    yield from _absent_lines(recorded)
    for note in recorded.manifest.notes:
        yield from wrapped(f"note       {printable(note)}", indent=" " * 11)


def _absent_lines(recorded: Recorded) -> Iterator[str]:
    """Name the absent points, those together that mean the same."""
    by_meaning: dict[str, list[str]] = {}
    for absent in recorded.manifest.absent:
        by_meaning.setdefault(absent.without or absent.why, []).append(absent.name)
    for meaning, names in by_meaning.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield from wrapped(f"absent     {printable(f'{shown}: {meaning}')}", indent=" " * 11)


def count_lines(report: Report, style: Style) -> Iterator[str]:
    """Count the IOs by operation (and disk), and say what those that are not whole lack."""
    summary = report.summary
    total = summary.total()
    grid = Grid(("IOs", "count", "bytes", "whole", "mean", "p50", "p99", "max"))
    for op, group in summary.by_op().items():
        _add_group(grid, op.value, group)
    disks = summary.by_disk()
    if len(disks) > 1:
        for disk, group in disks.items():
            _add_group(grid, f"on {printable(report.recorded.disk_name(disk))}", group)
    if len(summary.by_op()) > 1:
        _add_group(grid, "all", total)
    yield from grid.lines(style)
    if total.whole_count < total.io_count:
        missing = total.io_count - total.whole_count
        lacks = ", ".join(f"{what} ({count:,})" for what, count in _by_count(summary.lacks))
        yield from wrapped(f"not whole: {missing:,}, for lack of {lacks or 'what is not known'}")
    if total.unended_count:
        yield _unended_line(report, total)


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])


def _add_group(grid: Grid, name: str, group: Group) -> None:
    p50, p99 = group.latency.quantiles_ns([0.5, 0.99])
    whole = share_text(group.whole_count / group.io_count) if group.io_count else "-"
    times = [time_text(t) for t in (group.latency.mean_ns, p50, p99, group.latency.max_ns)]
    shown = times if group.latency.count else ["-"] * len(times)
    size = "-" if name == Op.FLUSH else bytes_text(group.bytes)
    grid.add(name, f"{group.io_count:,}", size, whole, *shown)


def _unended_line(report: Report, total: Group) -> str:
    line = f"no end seen: {total.unended_count:,} (in flight at the end, or hung)"
    if report.unended.num_rows:
        begin_ns = int(report.unended["begin_ns"][0].as_py())
        number, age_ns = report.unended["io"][0].as_py(), report.recorded.stop_ns - begin_ns
        line += f"; the oldest, IO {number}, for {time_text(age_ns)}"
    return line
