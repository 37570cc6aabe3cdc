"""The arithmetic of a truth test: of a known delay, how much the report charges to the right place. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.layer import Phase, Stage
from vio.reporter.waits import Wait

GOAL = 0.95
"""The least share of the injected time that has to be charged to the right place, in every injection."""
SPILL_LIMIT = 0.05
"""The most by which all other places together may change, as a share of the injected time."""

UNATTRIBUTED = "unattributed"

Ints = npt.NDArray[np.int64]


def cell(stage: Stage, phase: Phase) -> str:
    """Name the place of a stage's own time in one phase."""
    return f"{stage} {phase}"


def cells_of(*stages: Stage) -> tuple[str, ...]:
    """Name all places of some stages."""
    return tuple(cell(stage, phase) for stage in stages for phase in Phase)


CELLS = (*cells_of(*Stage), UNATTRIBUTED)
"""Every place that time can be charged to, in the order of the columns of `Lives.own_ns`."""


@dataclass(frozen=True, slots=True)
class Lives:
    """IOs as the report has them: begin and end (CLOCK_BOOTTIME), own times and waits in ns, one row for each IO."""

    begin_ns: Ints
    end_ns: Ints
    own_ns: npt.NDArray[np.int64]
    waits_ns: Mapping[Wait, Ints] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the IOs."""
        return int(self.begin_ns.size)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Lives":
        """Choose some of them."""
        waits = {wait: times[mask] for wait, times in self.waits_ns.items()}
        return Lives(self.begin_ns[mask], self.end_ns[mask], self.own_ns[mask], waits)

    def within(self, from_ns: int, to_ns: int) -> "Lives":
        """Choose those that lie in a stretch of time."""
        return self.where((self.begin_ns >= from_ns) & (self.end_ns <= to_ns))

    def across(self, from_ns: int, to_ns: int) -> "Lives":
        """Choose those that live at some time in a stretch of time."""
        return self.where((self.begin_ns <= to_ns) & (self.end_ns >= from_ns))


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where the report puts an injected delay; `changes` in ns by place, over all touched IOs.

    `waited_ns` is by how much the wait grew that it is, None where it is none.
    """

    injected_ns: int
    base_count: int
    touched_count: int
    expected: tuple[str, ...]
    changes: Mapping[str, int]
    waited_ns: int | None = None

    @property
    def added_ns(self) -> int:
        """By how much the touched IOs took longer, as the report sees it."""
        return sum(self.changes.values())

    @property
    def attribution(self) -> float:
        """The share of the injected time that is charged to the expected places, or to none if none is expected."""
        if not self.expected:
            return 1.0 - self.spill
        return sum(self.changes[name] for name in self.expected) / self.injected_ns

    @property
    def waited(self) -> float | None:
        """The share of the injected time that shows as the wait that it is."""
        return None if self.waited_ns is None else self.waited_ns / self.injected_ns

    @property
    def spill(self) -> float:
        """By how much all other places together change, up or down, as a share of the injected time."""
        return sum(abs(self.changes[name]) for name in CELLS if name not in self.expected) / self.injected_ns

    @property
    def largest(self) -> tuple[str, float]:
        """The place that changes most, and its share of the injected time."""
        name = max(self.changes, key=lambda one: abs(self.changes[one]))
        return name, self.changes[name] / self.injected_ns

    @property
    def is_met(self) -> bool:
        """Tell whether the goal is reached, and no more is charged than was injected."""
        shares = [self.attribution, *([] if self.waited is None else [self.waited])]
        return all(GOAL <= share <= 2 - GOAL for share in shares) and self.spill < SPILL_LIMIT


def attribute(
    base: Lives,
    touched: Lives,
    injected_ns: int,
    expected: Sequence[str],
    *,
    is_each: bool = False,
    wait: Wait | None = None,
) -> Attribution:
    """Compare IOs that an injection touched with others of their kind; both must not be empty.

    With `is_each` the injection is in each of the touched IOs, and the median one stands for all: a machine that others
    use too delays an IO now and then. Of the others, the median is what is usual.
    """
    if not len(base) or not len(touched) or injected_ns <= 0:
        raise ValueError(f"nothing to compare: {len(base)} and {len(touched)} IOs, {injected_ns} ns injected")
    usual_ns = np.median(base.own_ns, axis=0)
    touched_ns = len(touched) * np.median(touched.own_ns, axis=0) if is_each else touched.own_ns.sum(axis=0)
    change_ns = touched_ns - len(touched) * usual_ns
    changes = {name: round(float(value)) for name, value in zip(CELLS, change_ns, strict=True)}
    waited_ns = None
    if wait:
        usual = float(np.median(base.waits_ns[wait]))
        waited_ns = round(float(touched.waits_ns[wait].sum()) - len(touched) * usual)
    return Attribution(injected_ns, len(base), len(touched), tuple(expected), changes, waited_ns)


def less(delays: Sequence[tuple[int, int]], busy: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Take from the delays the times in which something deeper was at work; both are in order and do not overlap."""
    left = []
    for delay_from, to_ns in delays:
        from_ns = delay_from
        for busy_from, busy_to in busy:
            if busy_from < to_ns and busy_to > from_ns:
                left.append((from_ns, max(busy_from, from_ns)))
                from_ns = min(busy_to, to_ns)
        left.append((from_ns, to_ns))
    return tuple(one for one in left if one[1] > one[0])


def overlap_ns(lives: Lives, delays: Sequence[tuple[int, int]]) -> Ints:
    """Give for each IO for how long it lived during the delays (from, to)."""
    total = np.zeros(len(lives), dtype=np.int64)
    for from_ns, to_ns in delays:
        total += np.maximum(np.minimum(lives.end_ns, to_ns) - np.maximum(lives.begin_ns, from_ns), 0)
    return total
