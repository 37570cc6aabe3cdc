"""The axes of the page's pictures: columns of time, and rows of times on a logarithmic scale."""

from dataclasses import dataclass

import numpy as np

from vio.quantity import NO_END_S
from vio.reporter.choice import Filter
from vio.reporter.compiled import Ints
from vio.reporter.recorded import Recorded

_NS = 1_000_000_000
_MOST_COLUMNS = 200
_NICE = (1, 2, 5)

# From 100 ns to 100 s, in steps of 26 %: what is shorter or longer is counted in the first or last row.
FIRST_ROW_NS = 100
ROWS_PER_DECADE = 10
ROWS = 9 * ROWS_PER_DECADE


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Columns of equal width from `begin_ns` (CLOCK_BOOTTIME) on."""

    begin_ns: int
    width_ns: int
    count: int

    @classmethod
    def of(cls, recorded: Recorded, choice: Filter) -> "TimeAxis":
        """Cover what was recorded, or the stretch of it that was chosen, with at most 200 columns."""
        begin_ns, end_ns = recorded.start_ns, recorded.stop_ns
        if choice.between_s:
            first_s, last_s = choice.between_s
            end_ns = min(end_ns, begin_ns + round(last_s * _NS)) if last_s < NO_END_S else end_ns
            begin_ns += round(first_s * _NS)
        length_ns = max(end_ns - begin_ns, 1)
        width_ns = _nice_width_ns(length_ns)
        return cls(begin_ns, width_ns, -(-length_ns // width_ns))

    def columns(self, times_ns: Ints) -> Ints:
        """Return the column of each time; what lies outside is counted in the first or last."""
        return np.clip((times_ns - self.begin_ns) // self.width_ns, 0, self.count - 1)

    def overlaps_ns(self, begins_ns: Ints, ends_ns: Ints) -> Ints:
        """Return how much of each column the stretches of time cover together."""
        return self._covered_from(begins_ns) - self._covered_from(ends_ns)

    def _covered_from(self, times_ns: Ints) -> Ints:
        """Add up, for each column, how much of it comes after each of the times."""
        places = np.clip(times_ns - self.begin_ns, 0, self.count * self.width_ns)
        column, into = np.divmod(places, self.width_ns)
        number = np.bincount(column, minlength=self.count + 1)
        passed_ns = np.bincount(column, weights=into, minlength=self.count + 1).astype(np.int64)
        covered: Ints = np.cumsum(number) * self.width_ns - passed_ns
        return covered[: self.count]


def _nice_width_ns(length_ns: int) -> int:
    power = 1
    while True:
        for digit in _NICE:
            if length_ns <= digit * power * _MOST_COLUMNS:
                return digit * power
        power *= 10


def rows_of_times(times_ns: Ints) -> Ints:
    """Return the row of each time."""
    places = np.log10(np.maximum(times_ns, 1) / FIRST_ROW_NS) * ROWS_PER_DECADE
    rows: Ints = np.floor(places).astype(np.int64).clip(0, ROWS - 1)
    return rows
