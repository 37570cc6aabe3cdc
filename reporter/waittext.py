"""Waiting that is nobody's code, as text: a table under the layers, and words for the lines of one IO's spans."""

from collections.abc import Iterator, Mapping

from vio.layer import Stage
from vio.reporter.grid import Grid, Style
from vio.reporter.histogram import Distribution
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, Report, number_in
from vio.reporter.units import MICROSECOND, TimeUnit, share_text, time_text
from vio.reporter.waits import OUTSIDE, SCHED_POINTS, WITHIN, Wait
from vio.reporter.waitsum import WaitSummary

_QUANTILES = (0.5, 0.99)
_MOST = 0.5
_NAMES = {
    Wait.RUNQUEUE: "for a CPU",
    Wait.STOPPED: "stopped",
    Wait.WAKEUP: "to wake up",
    Wait.KICK: "kick to take",
    Wait.INJECT: "notify to interrupt",
}
_OF_MOST = {Wait.RUNQUEUE: "waited for a CPU", Wait.STOPPED: "stopped"}
_OF_ONE = {Wait.RUNQUEUE: "waits for a CPU", Wait.STOPPED: "is stopped", Wait.WAKEUP: "is to wake up"}


def wait_lines(report: Report, unit: TimeUnit, style: Style) -> Iterator[str]:
    """Write the table of waits, or that there is none and why."""
    waits = report.waits
    if waits is None:
        yield f"not recorded: when threads waited for a CPU, or to be woken{_why_not(report.recorded)}"
        return
    grid = wait_grid(waits, report.summary.total_ns, unit)
    if not grid.rows:
        yield "waiting: no IO's thread waited for a CPU, was stopped, or had to be woken"
        return
    yield from grid.lines(style)
    yield "Parts of the own times above, of the IOs that waited: for a CPU: its thread could run and did not;"
    yield "to wake up: from a completion until the thread that it woke ran, with its waiting for a CPU."
    if (Wait.KICK, None) in waits.by_place:
        yield "kick to take: before an IO's begin, since the guest's kick woke the thread that took it."
    if (Wait.INJECT, None) in waits.by_place:
        yield "notify to interrupt: after an IO's end, until a virtual CPU took the interrupt."
    lacking = report.summary.total().latency.count - waits.known_count
    if lacking > 0:
        yield f"not known of {lacking:,} IOs: the trace buffer lost events, or they were in flight too long"


def wait_grid(waits: WaitSummary, total_ns: int, unit: TimeUnit) -> Grid:
    """Make the table of waits, shares of this time."""
    grid = Grid((f"waiting ({unit.name})", "IOs", "share", "p50", "p99", "max"))
    for wait in WITHIN:
        _add_wait(grid, waits, wait, total_ns, unit)
    for wait in OUTSIDE:
        if (wait, None) in waits.by_place:
            _add(grid, _NAMES[wait], waits.by_place[wait, None], "-", unit)
    return grid


def _why_not(recorded: Recorded) -> str:
    absent = {one.name: one.why for one in recorded.manifest.absent}
    why = next((absent[name] for name in SCHED_POINTS if name in absent), "")
    return f" ({why})" if why else ""


def _add_wait(grid: Grid, waits: WaitSummary, wait: Wait, total_ns: int, unit: TimeUnit) -> None:
    if (wait, None) not in waits.by_place:
        return
    rows = [(_NAMES[wait], waits.by_place[wait, None], False)]
    stages = waits.stages(wait)
    if len(stages) == 1:
        rows = [(f"{_NAMES[wait]}: {next(iter(stages))}", waits.by_place[wait, None], False)]
    else:
        rows += [(f"  {stage}", part, True) for stage, part in stages.items()]
    for name, part, is_lesser in rows:
        share = share_text(part.total_ns / total_ns) if total_ns else "-"
        _add(grid, name, part, share, unit, is_lesser=is_lesser)


def _add(grid: Grid, name: str, part: Distribution, share: str, unit: TimeUnit, *, is_lesser: bool = False) -> None:
    times = (*part.quantiles_ns(_QUANTILES), part.max_ns)
    grid.add(name, f"{part.count:,}", share, *(unit.text(time) for time in times), is_lesser=is_lesser)


def words_of(waits: Mapping[Wait, int]) -> str:
    """Say on a span's line what of its own time its thread waited."""
    return ", ".join(f"{_OF_ONE[wait]} {MICROSECOND.text(waits[wait])}" for wait in WITHIN if wait in waits)


def words_of_most(row: IoRow) -> str:
    """Say of an IO that its thread did not run for most of its life, if that is so."""
    for wait in _OF_MOST:
        share = number_in(row, wait.column) / max(number_in(row, "latency_ns"), 1)
        if share > _MOST:
            return f"; {_OF_MOST[wait]} {share_text(share)}"
    return ""


def outside_lines(row: IoRow) -> Iterator[str]:
    """Say when the guest's kick and its interrupt were."""
    if row[Wait.KICK.column] is not None:
        yield f"taken {time_text(number_in(row, Wait.KICK.column))} after the guest's kick woke the thread"
    if row[Wait.INJECT.column] is not None:
        yield f"the guest took its interrupt {time_text(number_in(row, Wait.INJECT.column))} after it was told"


StageWaits = Mapping[Stage, Mapping[Wait, int]]
