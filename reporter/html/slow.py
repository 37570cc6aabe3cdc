"""The spans of the slowest IOs, taken from each window while it is there: to join again for each would take long."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.layer import Stage
from vio.reporter.join import Joined
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in, rows_of
from vio.reporter.slowest import Notable
from vio.reporter.spans import Span, hulls, part_spans, spans_of
from vio.reporter.waits import Wait, Waits, stage_waits

_MOST_SPANS = 80


@dataclass(frozen=True, slots=True)
class Work:
    """What one IO led to: its spans, the first of them where there are very many (`left_out`), and its waits.

    `later` are its writebacks (rows of schema.WRITEBACKS) so far.
    """

    spans: tuple[Span, ...]
    left_out: int = 0
    waits: Mapping[Stage, Mapping[Wait, int]] = field(default_factory=dict)
    later: list[IoRow] = field(default_factory=list)


class SlowIos:
    """The slowest IOs, and those without an end, with their spans."""

    def __init__(self, limit: int, recorded: Recorded) -> None:
        self._recorded = recorded
        self._notable = Notable(limit)
        self._works: dict[int, Work] = {}

    def add(self, stream: object, every: pa.Table, chosen: pa.Table) -> None:
        """Look at the chosen IOs of the table that the stream has given last."""
        if not chosen.num_rows:
            return
        self._notable.add(chosen)
        slowest, unended = self.tables
        wanted = {*slowest["io"].to_pylist(), *unended["io"].to_pylist()}
        self._works = {io: work for io, work in self._works.items() if io in wanted}
        fresh = np.array(sorted(wanted - self._works.keys()), dtype=np.int64)
        for row in np.flatnonzero(np.isin(every["io"].to_numpy(), fresh)).tolist():
            self._works[every["io"][row].as_py()] = self._work(stream, every, row)

    def add_later(self, writebacks: pa.Table) -> None:
        """Look at writebacks (schema.WRITEBACKS) that have become known since; they are of IOs given before."""
        wanted = pa.array(list(self._works), pa.int64())
        for row in rows_of(writebacks.filter(pc.is_in(writebacks["io"], wanted))):
            self._works[number_in(row, "io")].later.append(row)

    @property
    def tables(self) -> tuple[pa.Table, pa.Table]:
        """The slowest, slowest first; those without an end, oldest first (schema.IOS)."""
        return self._notable.slowest, self._notable.unended

    def work(self, io: int) -> Work:
        """Return what one of them led to."""
        return self._works[io]

    def _work(self, stream: object, every: pa.Table, row: int) -> Work:
        joined, waits, stages = (getattr(stream, name, None) for name in ("joined", "waits", "stages"))
        spans: list[Span] = []
        if isinstance(joined, Joined):
            spans = spans_of(joined, int(np.flatnonzero(joined.is_done)[row]), self._recorded)
        if not spans:
            spans = hulls(rows_of(every.slice(row, 1))[0], self._recorded)
        if isinstance(stages, pa.Table):
            spans += part_spans(stages.filter(pc.equal(stages["io"], every["io"][row])))
        spans.sort(key=lambda span: span.begin_ns)
        of_io = stage_waits(waits, row) if isinstance(waits, Waits) else {}
        return Work(tuple(spans[:_MOST_SPANS]), max(len(spans) - _MOST_SPANS, 0), of_io)
