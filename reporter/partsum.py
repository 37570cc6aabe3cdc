"""Statistics of the parts of opened layers: own times by part, the rest of each layer, the way from point to point."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vio.layer import Phase, Stage
from vio.reporter.histogram import Distribution
from vio.reporter.hops import Hops
from vio.reporter.inner import Part
from vio.reporter.match import Ints
from vio.schema import time_column

_STAGES = tuple(Stage)
PartName = tuple[Stage, str]


@dataclass(slots=True)
class PartFigures:
    """One part: own time in each IO that has it, and how often it came; `open_count` are spans without an end seen."""

    own: Distribution = field(default_factory=Distribution)
    span_count: int = 0
    open_count: int = 0
    is_mark: bool = False


@dataclass(slots=True)
class PartSummary:
    """What `add` has seen so far of the chosen IOs; `rest` is what is left of each opened stage, per IO.

    Without `has_points` there are the steps of mapped devices only, which nobody asked for: no way from point to point.
    """

    parts: dict[PartName, PartFigures] = field(default_factory=dict)
    has_points: bool = True
    rest: dict[Stage, Distribution] = field(default_factory=dict)
    hops: Hops = field(default_factory=Hops)

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "PartSummary":
        """Begin with the parts that the recording has, so that those without a span are there too."""
        known = {(Stage(part.layer.value), part.name): PartFigures(is_mark=part.is_mark) for part in parts}
        return cls(known, has_points=bool(known))

    @property
    def stages(self) -> list[Stage]:
        """The opened stages, from the top."""
        return [stage for stage in _STAGES if stage in self.rest]

    def parts_of(self, stage: Stage) -> dict[str, PartFigures]:
        """Return the parts of a stage by name."""
        return {name: figures for (of, name), figures in self.parts.items() if of is stage}

    def add(self, stages: pa.Table, ios: pa.Table) -> None:
        """Count the parts (schema.STAGES) of the chosen IOs (schema.IOS)."""
        io = ios["io"].to_numpy()
        order = np.argsort(io)
        place = np.searchsorted(io, stages["io"].to_numpy(), sorter=order)
        place = order[np.minimum(place, io.size - 1)] if io.size else place
        is_mine = io[place] == stages["io"].to_numpy() if io.size else np.zeros(stages.num_rows, dtype=np.bool_)
        mine = stages.filter(pa.array(is_mine))
        row = place[is_mine]
        own = mine["own_ns"].fill_null(0).to_numpy()
        of_stage = mine["stage"].to_numpy()
        names = mine["part"].to_numpy(zero_copy_only=False)
        is_open = np.array(mine["end_ns"].is_null()) & ~np.array(mine["own_ns"].is_null())
        for number in sorted({*np.unique(of_stage).tolist(), *(_STAGES.index(stage) for stage, _ in self.parts)}):
            which = np.flatnonzero(of_stage == number)
            self._add_stage(_STAGES[number], ios, row[which], names[which], own[which], is_open[which])
        if self.has_points:
            self.hops.add(mine, ios)

    def _add_stage(self, stage: Stage, ios: pa.Table, row: Ints, names: Ints, own: Ints, is_open: Ints) -> None:
        for name in dict.fromkeys(names.tolist()):
            is_it = names == name
            figures = self.parts.setdefault((stage, name), PartFigures())
            sums = np.bincount(row[is_it], weights=own[is_it], minlength=ios.num_rows).astype(np.int64)
            figures.own.add(sums[np.unique(row[is_it])])
            figures.span_count += int(is_it.sum())
            figures.open_count += int((is_it & is_open).sum())
        columns = [ios[time_column(stage, phase)] for phase in Phase]
        reached = ~np.all([np.array(column.is_null()) for column in columns], axis=0)
        whole = np.sum([column.fill_null(0).to_numpy() for column in columns], axis=0)
        inner = np.bincount(row, weights=own, minlength=ios.num_rows).astype(np.int64)
        if reached.any():
            self.rest.setdefault(stage, Distribution()).add((whole - inner)[reached])
