"""What is of whole runs and not of IOs: the CPU time that QEMU took, that the host lacked, and what the tracing cost.

Means of the runs.
"""

from collections.abc import Callable, Sequence

import numpy as np

from vio.comparer.comparison import Figure
from vio.comparer.run import Run

TARGET_CPU, CPU_PER_IO = "QEMU, CPU share", "QEMU, us of CPU an IO"
STOLEN = "host, CPU share withheld (steal)"
TRACING_CPU, ADDED = "tracing, CPU share", "tracing, us added to an IO"


def _share(cpu_s: float | None, run: Run) -> float | None:
    return cpu_s / run.info.duration_s if cpu_s is not None and run.info.duration_s > 0 else None


def _per_io_us(run: Run) -> float | None:
    ios = sum(tally.io_count for block in run.blocks for tally in block.tallies.values())
    return None if run.info.target_cpu_s is None else 1e6 * run.info.target_cpu_s / ios


_FIGURES: tuple[tuple[str, Callable[[Run], float | None]], ...] = (
    (TARGET_CPU, lambda run: _share(run.info.target_cpu_s, run)),
    (CPU_PER_IO, _per_io_us),
    (STOLEN, lambda run: run.info.stolen_share),
    (TRACING_CPU, lambda run: _share(run.info.tracing_cpu_s, run)),
    (ADDED, lambda run: run.info.added_us_per_io),
)


def whole_figures(base: Sequence[Run], new: Sequence[Run]) -> tuple[Figure, ...]:
    """Return these figures of both sides, where they are known of every run."""
    found = []
    for name, value in _FIGURES:
        sides = [[value(run) for run in side] for side in (base, new)]
        if all(one is not None for side in sides for one in side):
            old, now = (float(np.mean([one for one in side if one is not None])) for side in sides)
            found.append(Figure(name, old, now, now - old))
    return tuple(found)
