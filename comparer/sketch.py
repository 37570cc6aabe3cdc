"""A distribution of times in little room, that can be merged: counts of the histogram's buckets that hold something.

A quantile is in the bucket of the true one, so off by less than 0.8 %; count and sum are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vio.reporter.buckets import BUCKETS, Ints, bucket_bounds


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """Counts by bucket, the buckets in order; `total_ns` is the sum of the values."""

    buckets: Ints
    counts: Ints
    total_ns: int

    @property
    def count(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    def quantiles_ns(self, shares: Sequence[float]) -> list[float]:
        """Return the value at each rank (nearest rank); NaN of nothing."""
        if not self.counts.size:
            return [float("nan")] * len(shares)
        upto = np.cumsum(self.counts)
        ranks = np.clip(np.ceil(np.asarray(shares) * upto[-1] - 1e-9), 1, upto[-1])
        at = np.searchsorted(upto, ranks, side="left")
        low, high = bucket_bounds(self.buckets[at])
        # Not all at the middle: runs whose quantiles fall into one bucket would seem to have no spread.
        share = (ranks - (upto - self.counts)[at] - 0.5) / self.counts[at]
        return [float(value) for value in np.ceil(low) + share * np.maximum(np.ceil(high) - np.ceil(low) - 1, 0)]


EMPTY = Sketch(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)


def merged(sketches: Sequence[Sketch]) -> Sketch:
    """Return several distributions as one."""
    if len(sketches) <= 1:
        return sketches[0] if sketches else EMPTY
    dense = np.zeros(BUCKETS, np.int64)
    for one in sketches:
        dense[one.buckets] += one.counts
    buckets = np.flatnonzero(dense)
    return Sketch(buckets, dense[buckets], sum(one.total_ns for one in sketches))
