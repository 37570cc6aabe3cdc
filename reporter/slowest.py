"""The few IOs worth looking at one by one: the slowest, and those that have not ended."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vio.schema import IOS, arrow_schema

_SCHEMA = arrow_schema(IOS)


class Leaders:
    """The rows with the largest values of a measure, largest first; of equals the first seen."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows = _SCHEMA.empty_table()
        self._measures = np.empty(0, dtype=np.int64)

    def offer(self, rows: pa.Table, measures: npt.NDArray[np.int64]) -> None:
        """Take what belongs among the first."""
        if self._measures.size == self._limit:
            floor = self._measures[-1] if self._limit else np.iinfo(np.int64).max
            chosen = np.flatnonzero(measures > floor)
        else:
            chosen = np.arange(measures.size)
        if chosen.size > self._limit:
            chosen = chosen[_largest(measures[chosen], self._limit)]
        if not chosen.size:
            return
        both = np.concatenate([self._measures, measures[chosen]])
        order = np.argsort(-both, kind="stable")[: self._limit]
        joined = pa.concat_tables([self._rows, rows.take(pa.array(chosen))])
        self._rows = joined.take(pa.array(order)).combine_chunks()
        self._measures = both[order]

    @property
    def rows(self) -> pa.Table:
        """The rows, a table of schema.IOS."""
        return self._rows


def _largest(measures: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    found = np.argpartition(measures, measures.size - limit)[measures.size - limit :]
    return np.sort(found).astype(np.int64, copy=False)


class Notable:
    """The slowest IOs that ended, and the oldest of those that did not."""

    def __init__(self, limit: int) -> None:
        self._slow = Leaders(limit)
        self._open = Leaders(limit)

    def add(self, ios: pa.Table) -> None:
        """Look at one table of schema.IOS."""
        latency = ios["latency_ns"]
        self._slow.offer(ios, pc.fill_null(latency, -1).to_numpy())
        if latency.null_count:
            unended = ios.filter(pc.is_null(latency))
            self._open.offer(unended, -unended["begin_ns"].to_numpy())

    @property
    def slowest(self) -> pa.Table:
        """The slowest, slowest first."""
        rows = self._slow.rows
        return rows.filter(pc.is_valid(rows["latency_ns"]))

    @property
    def unended(self) -> pa.Table:
        """The oldest without an end, oldest first."""
        return self._open.rows
