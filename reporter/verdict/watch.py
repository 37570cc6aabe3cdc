"""Watches a join's tables go by for the verdict, and gives it when the report is complete."""

from typing import Protocol

import numpy as np
import pyarrow as pa

from vio.reporter.busy import Busy
from vio.reporter.fanout import Fanout
from vio.reporter.result import Report
from vio.reporter.verdict.finding import Verdict
from vio.reporter.verdict.judge import judge
from vio.reporter.verdict.tally import Tallies


class Watched(Protocol):
    """A stream: `fanout` is of the IOs of the table that it has given last."""

    fanout: Fanout | None

    @property
    def busy(self) -> Busy | None:
        """How busy the threads were; complete after the last table."""


class Watch:
    """Tallies the chosen IOs of the tables that a stream gives."""

    def __init__(self, stream: Watched) -> None:
        self._stream = stream
        self._tallies = Tallies()

    def add(self, every: pa.Table, chosen: pa.Table) -> None:
        """Count the chosen IOs of the stream's last table."""
        fanout = self._stream.fanout
        if fanout is not None and chosen.num_rows < every.num_rows:
            fanout = fanout.take(np.isin(every["io"].to_numpy(), chosen["io"].to_numpy()))
        if chosen.num_rows:
            self._tallies.add(chosen, fanout)

    def verdict(self, report: Report) -> Verdict:
        """Judge a report of these IOs."""
        return judge(report, self._tallies, self._stream.busy)
