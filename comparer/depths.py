"""How many IOs of a recording were in flight when each began, itself included."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vio.comparer.run import LATENCY
from vio.reporter.buckets import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Depths:
    """All begins and ends of a recording, sorted; 16 bytes for each IO."""

    begins: Ints
    ends: Ints

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> "Depths":
        """Collect them from tables with `begin_ns` and `latency_ns`; an IO without an end stays in flight."""
        begins, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for table in tables:
            begins.append(table["begin_ns"].to_numpy())
            ended = table.filter(table[LATENCY].is_valid())
            ends.append(ended["begin_ns"].to_numpy() + ended[LATENCY].to_numpy())
        return cls(np.sort(np.concatenate(begins)), np.sort(np.concatenate(ends)))

    def at(self, begin_ns: Ints) -> Ints:
        """Return how many were in flight at each of these begins."""
        begun = np.searchsorted(self.begins, begin_ns, side="right")
        return np.asarray(begun - np.searchsorted(self.ends, begin_ns, side="right"), dtype=np.int64)
