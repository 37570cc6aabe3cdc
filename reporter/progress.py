"""How far a report has come. Light to import: who only shows it does not wait for what makes the report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from vio.reporter.recorded import Recorded

_QUIET_S = 1.0
_STEP_S = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a report has come; `share` of the recording's time, from 0 to 1."""

    io_count: int
    share: float


class Ticker:
    """Tells the progress, not before a second has passed."""

    def __init__(self, recorded: "Recorded", tell: Callable[[Progress], None] | None) -> None:
        self._recorded = recorded
        self._tell = tell
        self._count = 0
        self._next_s = time.monotonic() + _QUIET_S

    def passed(self, ios: "pa.Table") -> None:
        """Take note that these IOs are done."""
        self._count += ios.num_rows
        if self._tell and ios.num_rows and time.monotonic() >= self._next_s:
            at_s = self._recorded.second(ios["begin_ns"][-1].as_py())
            share = at_s / self._recorded.duration_s if self._recorded.duration_s > 0 else 1.0
            self._tell(Progress(self._count, min(max(share, 0.0), 1.0)))
            self._next_s = time.monotonic() + _STEP_S
