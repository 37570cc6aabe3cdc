"""How many IOs began, how many bytes they asked for and how many were in flight, over time and by size."""

from dataclasses import dataclass, field

import numpy as np

from vio.reporter.compiled import Ints
from vio.reporter.histogram import Distribution
from vio.reporter.html.axes import TimeAxis

_LARGEST_CLASS = 63


@dataclass(slots=True, eq=False)
class Flow:
    """IOs of one operation on one disk, by column of time; `in_flight_ns` / the column's width is the mean depth."""

    count: Ints
    bytes: Ints
    in_flight_ns: Ints

    @classmethod
    def of(cls, axis: TimeAxis) -> "Flow":
        """Begin with nothing."""
        return cls(*(np.zeros(axis.count, dtype=np.int64) for _ in range(3)))

    def add(self, axis: TimeAxis, begins_ns: Ints, ends_ns: Ints, lengths: Ints) -> None:
        """Count IOs, at the time of their begin; those without an end are given that of the recording."""
        columns = axis.columns(begins_ns)
        self.count += np.bincount(columns, minlength=axis.count)
        self.bytes += np.bincount(columns, weights=lengths, minlength=axis.count).astype(np.int64)
        self.in_flight_ns += axis.overlaps_ns(begins_ns, ends_ns)


@dataclass(slots=True)
class Sizes:
    """IOs of one operation by length: class n has those of more than 2^(n-1) and at most 2^n bytes."""

    classes: dict[int, Distribution] = field(default_factory=dict)

    def add(self, lengths: Ints, times_ns: Ints) -> None:
        """Count IOs that ended."""
        numbers = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64).clip(0, _LARGEST_CLASS)
        for number in np.flatnonzero(np.bincount(numbers)).tolist():
            self.classes.setdefault(number, Distribution()).add(times_ns[numbers == number])
