"""The IOs to export: those of the per-IO table that a filter takes, table by table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vio.recording import Recording
from vio.reporter.choice import Chooser, Filter
from vio.reporter.iofile import io_tables
from vio.reporter.progress import Progress, Ticker
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, rows_of
from vio.schema import IOS

_NAMES = tuple(column.name for column in IOS)
_NEEDED = ("op", "disk", "begin_ns")
_AT_ONCE = 4096  # rows as Python objects: some 10 KiB each


@dataclass(frozen=True, slots=True)
class ChosenIos:
    """IOs of a recording; each call reads them anew. `on_progress` hears of the reading of `rows`.

    Raises:
        RecordingError: the recording cannot be read.
        UsageError: the filter does not fit it.
    """

    path: Path
    recorded: Recorded
    choice: Filter
    on_progress: Callable[[Progress], None] | None = None

    @classmethod
    def of(cls, path: Path, choice: Filter, on_progress: Callable[[Progress], None] | None = None) -> "ChosenIos":
        """Open a recording."""
        recorded = Recorded.of(Recording.open(path))
        Chooser(choice, recorded)  # a wrong choice is an error before anything is joined or written
        return cls(path, recorded, choice, on_progress)

    def tables(self, columns: Sequence[str] = _NAMES) -> Iterator[pa.Table]:
        """Yield tables of some columns of schema.IOS."""
        chooser = Chooser(self.choice, self.recorded)
        wanted = list(dict.fromkeys([*_NEEDED, *columns]))
        for table in io_tables(self.path, wanted, self.on_progress):
            yield chooser.choose(table).select(list(columns))

    def rows(self) -> Iterator[list[IoRow]]:
        """Yield rows of schema.IOS, some thousand at a time."""
        ticker = Ticker(self.recorded, self.on_progress)
        for table in self.tables():
            for first in range(0, table.num_rows, _AT_ONCE):
                part = table.slice(first, _AT_ONCE)
                yield rows_of(part)
                ticker.passed(part)
