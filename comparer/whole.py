"""What the tracing itself cost each side; means over its runs."""

from collections.abc import Callable, Sequence

import numpy as np

from vio.comparer.comparison import Figure
from vio.comparer.run import Run, RunInfo

TRACING_CPU, ADDED = "tracing, CPU share", "tracing, us added to an IO"
_FIGURES: tuple[tuple[str, Callable[[RunInfo], float | None]], ...] = (
    (TRACING_CPU, lambda info: info.tracing_cpu_s / info.duration_s if info.duration_s > 0 else None),
    (ADDED, lambda info: info.added_us_per_io),
)


def tracing_figures(base: Sequence[Run], new: Sequence[Run]) -> tuple[Figure, ...]:
    """Return what recording took of both sides, where it is known of every run."""
    found = []
    for name, value in _FIGURES:
        sides = [[value(run.info) for run in side] for side in (base, new)]
        if all(one is not None for side in sides for one in side):
            old, now = (float(np.mean([one for one in side if one is not None])) for side in sides)
            found.append(Figure(name, old, now, now - old))
    return tuple(found)
