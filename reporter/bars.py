"""What the picture and the page draw: a bar for each operation (and disk), and the percentiles of the curves."""

from dataclasses import dataclass

import numpy as np

from vio.printable import printable
from vio.reporter.compiled import Floats
from vio.reporter.group import Group
from vio.reporter.result import Report

_MANY_BARS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """One bar: IOs of an operation (on a disk), their mean time by stage and phase."""

    label: str
    group: Group

    def mean_ns(self, stage: int, phase: int) -> float:
        """Return the mean over all of its IOs that ended, those that did not reach the stage included."""
        return float(self.group.times_ns[stage, phase]) / self.group.latency.count


def bars_of(report: Report) -> list[Bar]:
    """Return the bars of the operations that ended, the busiest where there are many, in the order of operations."""
    summary = report.summary
    is_many = len(summary.by_disk()) > 1
    bars = []
    for op, of_op in summary.by_op().items():
        if not is_many:
            bars.append(Bar(op.value, of_op))
            continue
        for disk in summary.by_disk():
            group = summary.groups.get((op, disk))
            if group:
                bars.append(Bar(f"{op} {printable(report.recorded.disk_name(disk))}", group))
    bars = [bar for bar in bars if bar.group.latency.count]
    busiest = sorted(bars, key=lambda bar: -bar.group.latency.count)[:_MANY_BARS]
    return [bar for bar in bars if bar in busiest]


def shares_of(count: int) -> Floats:
    """Choose the percentiles to draw: up to where ten IOs are slower, p99.99 at most."""
    last = min(0.9999, max(0.9, 1 - 10 / max(count, 1)))
    return 1 - np.logspace(np.log10(0.5), np.log10(1 - last), 240)
