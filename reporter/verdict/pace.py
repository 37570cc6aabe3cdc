"""How IOs follow each other: at an even pace, as what holds them back lets them go; and each behind the last."""

from dataclasses import dataclass, field

import numpy as np

from vio.reporter.compiled import Ints, compiled

HELD_NS = 1_000_000
"""An IO that waited for less was not held back."""
_SMALL_BYTES = 64 << 10
_PLACES = 16


@dataclass(slots=True)
class Pace:
    """The intervals between IOs that had been held back, as they went on: how many, their sum and that of squares."""

    count: int = 0
    sum_ns: float = 0.0
    square_ns: float = 0.0

    def add(self, at_ns: Ints, waited_ns: Ints) -> None:
        """Count the IOs of a window: when they went on, and how long they had waited."""
        held = np.sort(at_ns[(waited_ns >= HELD_NS) & (at_ns > 0)])
        if held.size > 1:
            between = np.diff(held).astype(np.float64)
            self.count += between.size
            self.sum_ns += float(between.sum())
            self.square_ns += float((between**2).sum())

    @property
    def mean_ns(self) -> float:
        """The mean interval; 0 of nothing."""
        return self.sum_ns / self.count if self.count else 0.0

    @property
    def variation(self) -> float | None:
        """Standard deviation over mean: 0 for an even pace, about 1 for chance, more for bursts; None of nothing."""
        if not self.count or not self.sum_ns:
            return None
        spread = max(self.square_ns / self.count - self.mean_ns**2, 0.0)
        return float(spread**0.5 / self.mean_ns)


@dataclass(slots=True)
class Run:
    """Small IOs that began where another one, still under way, ended: they could have been one."""

    count: int = 0
    joined: int = 0
    _ends: Ints = field(default_factory=lambda: np.full((2, _PLACES), -1, dtype=np.int64))

    def add(self, offset: Ints, length: Ints, begin_ns: Ints, end_ns: Ints, merged_into: Ints) -> None:
        """Count the IOs of a window, in order of their begin; those that QEMU merged are `joined`."""
        self.joined += int(np.count_nonzero(merged_into >= 0))
        self.count += _follow(offset, length, begin_ns, end_ns, merged_into, self._ends)


@compiled
def _follow(offset: Ints, length: Ints, begin_ns: Ints, end_ns: Ints, merged_into: Ints, ends: Ints) -> int:
    """Count those that follow one in flight; `ends` are where, and when, the latest ones ended."""
    count, place = 0, 0
    for i in range(offset.size):
        if length[i] == 0 or length[i] > _SMALL_BYTES:
            continue
        if merged_into[i] < 0:
            for j in range(_PLACES):
                if ends[0, j] == offset[i] and ends[1, j] > begin_ns[i]:
                    count += 1
                    break
        ends[0, place], ends[1, place] = offset[i] + length[i], end_ns[i]
        place = (place + 1) % _PLACES
    return count
