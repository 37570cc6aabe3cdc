"""Distributions of times in constant memory: a log-linear histogram, as HdrHistogram has it.

A bucket is the exponent and the first seven bits of the fraction of a value's double. So values below 256 ns have
buckets of their own and are exact; above, a bucket is 1/128 to 1/256 of its values wide and is read at its middle:
a quantile is off by at most 1/256 (0.4 %) from the value at that rank. Count, sum, mean and maximum are exact.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.reporter.buckets import BUCKETS, LARGEST, bucket_values
from vio.reporter.compiled import Bools, Bytes, Floats, Ints
from vio.reporter.tally import tally, tally_parts

EVERY = np.empty(0, dtype=np.bool_)


@dataclass(slots=True, eq=False)
class Distribution:
    """Count, sum, maximum and quantiles of times in ns."""

    count: int = 0
    total_ns: int = 0
    max_ns: int = 0
    buckets: Ints = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))

    def add(self, values_ns: Ints) -> None:
        """Count values; none may be negative."""
        self.add_by_group(values_ns, EVERY, np.zeros(values_ns.size, dtype=np.int64), 1)

    def add_by_group(self, values_ns: Ints, is_there: Bools, group: Ints, groups: int) -> Ints:
        """Count those values that are there (`EVERY`: all); return their sums by group, of which there are so many."""
        sums = np.zeros(groups, dtype=np.int64)
        least, largest = tally(values_ns, is_there, group, sums, self.buckets)
        count = int(np.count_nonzero(is_there)) if is_there.size else values_ns.size
        self._add_figures(count, least, largest, int(sums.sum()))
        return sums

    def _add_figures(self, count: int, least: int, largest: int, total_ns: int) -> None:
        if least < 0 or largest > LARGEST:
            raise ValueError(f"a time of {least if least < 0 else largest} ns is beyond what can be measured")
        self.count += count
        self.max_ns = max(self.max_ns, largest)
        self.total_ns += total_ns

    def merge(self, other: "Distribution") -> None:
        """Add what another distribution has counted."""
        self.count += other.count
        self.total_ns += other.total_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self.buckets += other.buckets

    @property
    def mean_ns(self) -> float:
        """The mean; 0 of nothing."""
        return self.total_ns / self.count if self.count else 0.0

    def quantiles_ns(self, shares: npt.ArrayLike) -> Floats:
        """Return the value at each rank (nearest rank, `inverted_cdf` in NumPy's words); 0 of nothing."""
        wanted = np.asarray(shares, dtype=np.float64)
        if not self.count:
            return np.zeros(wanted.shape)
        ranks = np.clip(np.ceil(wanted * self.count - 1e-9), 1, self.count)
        found = np.searchsorted(np.cumsum(self.buckets), ranks, side="left").astype(np.int64)
        return np.asarray(np.minimum(bucket_values(found), self.max_ns), dtype=np.float64)

    def quantile_ns(self, share: float) -> float:
        """Return the value at one rank."""
        return float(self.quantiles_ns([share])[0])


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Times of IOs in a longer array, from `first` on, and the bits of those that are there (empty: all)."""

    all_ns: Ints
    bits: Bytes
    first: int


def add_parts(
    parts: dict[int, Distribution], whole: Distribution, values: dict[int, Values], group: Ints, groups: int
) -> tuple[Ints, Ints]:
    """Count up to three times of each IO, by their place among the three, and what they are together.

    Returns their sums (places, groups), and how many IOs of each group have any.
    """
    nothing = Values(np.empty(0, np.int64), np.empty(0, np.uint8), 0)
    given = [values.get(place, nothing) for place in range(3)]
    buckets = [parts[place].buckets if place in parts else nothing.all_ns for place in range(3)]
    sums, reached, figures = np.zeros((3, groups), np.int64), np.zeros(groups, np.int64), np.zeros((4, 3), np.int64)
    tally_parts(
        (given[0].all_ns, given[1].all_ns, given[2].all_ns),
        (given[0].bits, given[1].bits, given[2].bits),
        np.array([one.first for one in given]),
        group,
        (buckets[0], buckets[1], buckets[2], whole.buckets),
        sums,
        reached,
        figures,
    )
    for place, part in (*parts.items(), (3, whole)):
        count, least, largest = figures[place].tolist()
        part._add_figures(count, least, largest, int(sums[place].sum() if place < 3 else sums.sum()))
    return sums, reached
