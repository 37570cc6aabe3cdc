"""Several recordings in one report: a table with a row for each recording, disk and operation, names kept."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vio.errors import UsageError
from vio.layer import Stage
from vio.printable import printable
from vio.reporter.grid import Grid, Style
from vio.reporter.group import Group
from vio.reporter.machine import Json, to_json
from vio.reporter.progress import Progress
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Report
from vio.reporter.units import time_text

_HEADS = (
    *("recording", "host", "VM", "disk", "operation"),
    *("IOs", "IOs/s", "MB/s", "mean", "p50", "p99", "max", "most time in"),
)
_LEFT = frozenset({0, 1, 2, 3, 4, 12})
_MB = 1_000_000
_STAGES = tuple(stage.value for stage in Stage)


def report_several(
    paths: Sequence[Path], options: ReportOptions, on_progress: Callable[[Progress], None] | None = None
) -> list[Report]:
    """Report on each recording, in the order given.

    Raises:
        UsageError: an option is of one recording, or does not fit one of them.
        RecordingError: one of them cannot be read.
    """
    if options.plot_path or options.table_path or options.with_stages or options.is_by_file:
        raise UsageError(
            "--plot, --output, --stages, --way and --by are of one recording", "give the recordings one by one"
        )
    return [report(path, options, on_progress) for path in paths]


def several_json(reports: Sequence[Report]) -> list[Json]:
    """Return each recording's object, as for one."""
    return [to_json(one) for one in reports]


def several_text(reports: Sequence[Report], *, is_terminal: bool = False) -> str:
    """Write the table, and below it what a reader has to know of single recordings."""
    style = Style(is_terminal)
    grid = Grid(_HEADS, _LEFT)
    for one in reports:
        recorded = one.recorded
        target = recorded.manifest.target
        names = (Path(recorded.path).name, recorded.manifest.host.name, target.name or target.exe)
        ordered = sorted(one.summary.groups.items(), key=lambda item: (item[0][1], item[0][0]))
        for (op, disk), group in ordered:
            heads = map(printable, (*names, recorded.disk_name(disk), op))
            grid.add(*heads, *_figures(group, recorded.duration_s))
    lines = [*grid.lines(style), "", "times: of IOs that ended; most time in: the layer with the largest own time"]
    lines += [note for one in reports for note in _notes(one)]
    return "\n".join(lines) + "\n"


def _figures(group: Group, duration_s: float) -> list[str]:
    latency = group.latency
    rates = (group.io_count / duration_s, group.bytes / duration_s / _MB) if duration_s > 0 else None
    times = (latency.mean_ns, *latency.quantiles_ns([0.5, 0.99]).tolist(), latency.max_ns)
    return [
        f"{group.io_count:,}",
        *([f"{rate:,.1f}" for rate in rates] if rates else ["", ""]),
        *([time_text(round(time_ns)) for time_ns in times] if latency.count else [""] * len(times)),
        _longest(group),
    ]


def _longest(group: Group) -> str:
    by_stage = group.times_ns.sum(axis=1)
    total = int(by_stage.sum()) + group.unattributed_ns
    if not total:
        return ""
    names = [*_STAGES, "unattributed"]
    times = [*by_stage.tolist(), group.unattributed_ns]
    longest = max(range(len(names)), key=lambda number: times[number])
    return f"{names[longest]} {times[longest] / total:.0%}"


def _notes(one: Report) -> list[str]:
    """Say of a recording what makes its figures worth less."""
    name = printable(Path(one.recorded.path).name)
    total = one.summary.total()
    notes = []
    if one.recorded.losses:
        notes.append(f"{name} has losses: `vio report` on it alone says which")
    if total.whole_count < total.io_count:
        notes.append(f"{name}: {total.io_count - total.whole_count:,} of {total.io_count:,} IOs are not whole")
    if not total.io_count:
        notes.append(f"{name} has no IOs")
    return notes
