"""What a report has found, before it is written as text, JSON or pictures."""

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from vio.layer import Layer, Phase, Stage
from vio.reporter.byfile import FileFigures
from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.choice import Filter
from vio.reporter.ofwhichfigures import OfWhichFigures
from vio.reporter.partsum import PartSummary
from vio.reporter.quality import JoinQuality
from vio.reporter.recorded import Recorded
from vio.reporter.shown import ShownFigures
from vio.reporter.summary import Summary
from vio.reporter.verdict.finding import Verdict
from vio.reporter.waitsum import WaitSummary
from vio.schema import time_column

IoRow = dict[str, int | bool | None]


@dataclass(frozen=True, slots=True)
class Unreached:
    """Some IOs have no time in a stage: they did not go so far down, or the stage had no point."""

    stage: Stage
    count: int
    of: int
    is_recorded: bool


@dataclass(slots=True)
class Report:
    """Figures of a recording. `table_path` is the per-IO table, None if it was not written; `notes` say why not.

    `writeback` and `shown` are of the whole recording, whatever was chosen; `writeback` is None where no disk goes
    through the page cache.
    `parts` are those of opened layers, if they were asked for; `stages_path` is their table. `waits` is None where the
    scheduler was not recorded.
    """

    recorded: Recorded
    summary: Summary
    quality: JoinQuality
    choice: Filter
    slowest: pa.Table
    unended: pa.Table
    table_path: Path | None = None
    plot_path: Path | None = None
    html_path: Path | None = None
    notes: list[str] = field(default_factory=list)
    writeback: WritebackFigures | None = None
    writebacks_path: Path | None = None
    shown: ShownFigures | None = None
    shown_path: Path | None = None
    parts: PartSummary | None = None
    stages_path: Path | None = None
    waits: WaitSummary | None = None
    of_which: OfWhichFigures = field(default_factory=OfWhichFigures)
    files: list[FileFigures] | None = None
    """The guest's files, if they were asked for."""
    verdict: Verdict = field(default_factory=Verdict)
    """What the rules say of these figures."""

    def unreached(self) -> list[Unreached]:
        """List the stages that not every ended IO reached; loop stages only where some IO did."""
        total = self.summary.total()
        found = []
        for number, stage in enumerate(Stage):
            reached = int(total.reached[number])
            is_loop = stage.value.endswith("/loop")
            if reached < total.latency.count and (reached or not is_loop):
                missing = total.latency.count - reached
                found.append(Unreached(stage, missing, total.latency.count, self.recorded.observes(stage)))
        return found


def rows_of(table: pa.Table) -> list[IoRow]:
    """Return the rows of a small table of schema.IOS."""
    rows: list[IoRow] = table.to_pylist()
    return rows


def number_in(row: IoRow, name: str) -> int:
    """Return a number of a row, 0 where it has none."""
    return int(row[name] or 0)


def place_name(stage: Stage, phase: Phase) -> str:
    """Name a part of the way; the time of a device with nothing below it has no parts."""
    return stage.value if stage.layer is Layer.DEVICE and phase is Phase.BETWEEN else f"{stage} {phase}"


def longest_part(row: IoRow) -> tuple[str, int] | None:
    """Return where most of an IO's time went, and how much; None if nothing is known."""
    parts = [
        (place_name(stage, phase), number_in(row, time_column(stage, phase))) for stage in Stage for phase in Phase
    ]
    parts.append(("unattributed", number_in(row, "unattributed_ns")))
    name, time_ns = max(parts, key=lambda part: part[1])
    return (name, time_ns) if time_ns else None
