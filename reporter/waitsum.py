"""What IOs waited for that is nobody's code: figures by wait and stage, in constant memory."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from vio.layer import Stage
from vio.reporter.compiled import Bools, Ints, compiled
from vio.reporter.histogram import Distribution
from vio.reporter.waits import OUTSIDE, WITHIN, Wait, Waits

Place = tuple[Wait, Stage | None]


class WithWaits(Protocol):
    """A stream that may have waits: those of the table that it has given last."""

    waits: Waits | None


@dataclass(slots=True)
class WaitSummary:
    """Distributions of the waits that were more than 0, and how many IOs are known; stage None: of all together."""

    known_count: int = 0
    by_place: dict[Place, Distribution] = field(default_factory=dict)

    def add(self, waits: Waits) -> None:
        """Count the waits of some IOs."""
        self.known_count += int(np.count_nonzero(waits.is_known))
        for number, wait in enumerate(WITHIN):
            self._add((wait, None), waits.totals[number], waits.is_known)
            for place, stage in enumerate(Stage):
                self._add((wait, stage), waits.within[number, place], waits.is_known)
        for wait in OUTSIDE:
            self._add((wait, None), waits.outside[wait], waits.is_known)

    def _add(self, place: Place, values_ns: Ints, is_known: Bools) -> None:
        some = above_zero(values_ns, is_known)
        if some.size:
            self.by_place.setdefault(place, Distribution()).add(some)

    def stages(self, wait: Wait) -> dict[Stage, Distribution]:
        """Return one wait's figures by stage, in the order of the stack."""
        return {stage: self.by_place[wait, stage] for stage in Stage if (wait, stage) in self.by_place}


@compiled
def above_zero(values: Ints, is_there: Bools) -> Ints:
    """Return what is there of values and more than 0."""
    found = np.empty(values.size, np.int64)
    count = 0
    for i in range(values.size):
        if values[i] > 0 and is_there[i]:
            found[count] = values[i]
            count += 1
    return found[:count]


def count_waits(stream: WithWaits, every: pa.Table, chosen: pa.Table, into: WaitSummary | None) -> WaitSummary | None:
    """Count the waits of the chosen IOs among those of the table that a stream has given last; None if it has none."""
    waits = stream.waits
    if waits is None:
        return into
    into = into or WaitSummary()
    if chosen.num_rows == every.num_rows:
        into.add(waits)
    elif chosen.num_rows:
        into.add(waits.take(np.isin(every["io"].to_numpy(), chosen["io"].to_numpy())))
    return into
