"""The figures of units (runs, or blocks of a run's time) as arrays: a row for each unit, a column for each figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vio.comparer.run import LATENCY, PARTS, WAITS, Block, Key, Tally
from vio.comparer.sketch import EMPTY
from vio.comparer.statistics import Floats
from vio.layer import Phase, Stage
from vio.terms import time_column

SHARES = (0.5, 0.9, 0.99, 0.999)
STATISTICS = ("mean", "p50", "p90", "p99", "p99.9")
TAIL_IOS = 5
"""So many IOs of a unit have to be beyond a quantile for it to be compared."""
PART_NAMES = {time_column(stage, phase): f"{stage} {phase}" for stage in Stage for phase in Phase} | {
    f"{Stage.DEVICE.column}_{Phase.BETWEEN}_ns": Stage.DEVICE.value,
    f"{Stage.LOOP_DEVICE.column}_{Phase.BETWEEN}_ns": Stage.LOOP_DEVICE.value,
    "unattributed_ns": "unattributed",
}
"""What the report calls the time columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The STATISTICS of one row of one key; `least_ios` is the least number of IOs of any unit."""

    values: Floats
    least_ios: int

    def is_enough_for(self, statistic: int) -> bool:
        """Whether every unit has IOs enough beyond a quantile."""
        return statistic == 0 or self.least_ios * (1 - SHARES[statistic - 1]) >= TAIL_IOS - 1e-9


def units_with(units: Sequence[Block], key: Key) -> list[tuple[Block, Tally]]:
    """Return the units that have IOs of this key, with them."""
    return [(unit, unit.tallies[key]) for unit in units if key in unit.tallies]


def table_of(tallies: Sequence[Tally], row: str) -> Table:
    """Return a row's figures. A mean is over all IOs of the unit, quantiles over those that have such a time."""
    sketches = [one.row(row) or EMPTY for one in tallies]
    values = [
        [sketch.total_ns / tally.io_count, *sketch.quantiles_ns(SHARES)]
        for sketch, tally in zip(sketches, tallies, strict=True)
    ]
    return Table(np.array(values), min(sketch.count for sketch in sketches))


def part_rows(tallies: Sequence[Tally]) -> list[str]:
    """Return the rows of parts in which some IO spent any time, in the order of the stack."""
    return [name for name in PARTS if any((one.row(name) or EMPTY).total_ns for one in tallies)]


RATE, THROUGHPUT, IN_FLIGHT, WAITING = BESIDE = ("IOs/s", "bytes/s", "in flight", "waiting for a CPU")


def beside_of(units: Sequence[tuple[Block, Tally]]) -> Floats:
    """Return BESIDE for each unit: rates while it had work, the mean number in flight, ns of each IO's waiting."""
    rows = []
    for block, tally in units:
        active_s, busy_s = block.active_s, (tally.row(LATENCY) or EMPTY).total_ns / 1e9
        waited = sum((tally.row(name) or EMPTY).total_ns for name in WAITS)
        rows.append([tally.io_count / active_s, tally.bytes / active_s, busy_s / active_s, waited / tally.io_count])
    return np.array(rows)
