"""The load's own figures beside ours: two witnesses of the same runs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vio.bencher.journal import Run
from vio.bencher.order import Side
from vio.bencher.witness import Told

FIGURES = {"count": "IOs", "iops": "IOPS", "mean_ns": "mean", "p50_ns": "p50", "p99_ns": "p99"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """One figure of one operation under one setting, by the load and by the recordings: means over the runs."""

    side: Side
    op: str
    figure: str
    told: float
    ours: float

    @property
    def difference(self) -> float:
        """What ours is more, as a share; of latency it is less, by what lies above the recording's first layer."""
        return (self.ours - self.told) / self.told


def agreements(runs: Sequence[Run]) -> tuple[Agreement, ...]:
    """Return every figure that both tell of in every run of a setting."""
    found = []
    for side in Side:
        of_side = [run for run in runs if run.step.setting is side]
        ops = [told.op for told in of_side[0].told] if of_side else []
        for op in ops:
            pairs = [(_of(run.told, op), _of(run.ours, op)) for run in of_side]
            for key in FIGURES:
                told = [getattr(one, key) for one, _ in pairs if one and getattr(one, key)]
                ours = [getattr(one, key) for _, one in pairs if one and getattr(one, key)]
                if len(told) == len(ours) == len(pairs):
                    found.append(Agreement(side, op, key, fmean(told), fmean(ours)))
    return tuple(found)


def _of(all_told: Sequence[Told], op: str) -> Told | None:
    return next((told for told in all_told if told.op == op), None)
