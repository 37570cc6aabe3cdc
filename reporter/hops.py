"""The way of each IO from point to point: the time between successive points, as one row for each IO.

Points are the begins of parts, the ends of those parts that nothing lies in, marks, and the bounds of the layers, in
the order in which the first IOs passed them; or those that were asked for, which may be the end of any part.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from vio.errors import UsageError
from vio.layer import Stage
from vio.printable import printable
from vio.reporter.match import Ints

_STAGES = tuple(Stage)
_BOUNDS = ("accept", "block_begin", "aio_submit", "vfs_begin", "fs_begin", "bio_queue", "rq_issue", "rq_complete")
_LAST = ("fs_end", "vfs_end", "aio_end", "block_end", "push", "notify")
_ROWS = 4096
_FEW = 0.5  # of the IOs must have passed a point for it to be on the way


@dataclass(frozen=True, slots=True)
class HopRow:
    """One IO: its number, the place on the device (None if it reached none), ns from point to point (-1: not known)."""

    io: int
    device_offset: int | None
    hops_ns: tuple[int, ...]


@dataclass(slots=True)
class Hops:
    """Rows of the first IOs, and sums over all; `points` are in order, empty until there is an IO with parts.

    With `wanted` points these are they. `known` are all that any IO has passed; `order` has the begins of parts as the
    first IOs passed them.
    """

    wanted: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    known: set[str] = field(default_factory=set)
    order: tuple[str, ...] = ()
    rows: list[HopRow] = field(default_factory=list)
    count: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    total_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    least_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    most_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, stages: pa.Table, ios: pa.Table) -> None:
        """Take the IOs (schema.IOS) that have parts (schema.STAGES)."""
        if not stages.num_rows:
            return
        times = _times(stages, ios, self.wanted)
        self.known.update(times.columns)
        if not self.points:
            self.order = _order(times)
            self._begin(self.wanted or self.order)
        known = times.reindex(columns=list(self.points)).to_numpy(dtype=np.float64)
        hops = np.diff(known, axis=1)
        has = np.isfinite(hops) & (hops >= 0)
        hops = np.where(has, hops, 0).astype(np.int64)
        self.count += has.sum(axis=0)
        self.total_ns += hops.sum(axis=0)
        self.least_ns = np.minimum(self.least_ns, np.where(has, hops, np.iinfo(np.int64).max).min(axis=0))
        self.most_ns = np.maximum(self.most_ns, hops.max(axis=0))
        self._keep(times, np.where(has, hops, -1), ios)

    def check(self) -> None:
        """Refuse wanted points that no IO passed.

        Raises:
            UsageError: names the first of them, and what was passed.
        """
        unknown = [point for point in self.wanted if point not in self.known]
        if unknown and self.known:
            known = ", ".join(sorted(self.known))
            raise UsageError(f"--way: no IO passed a point {printable(unknown[0])}", f"they passed {printable(known)}")

    def _begin(self, points: tuple[str, ...]) -> None:
        self.points = points
        size = max(len(self.points) - 1, 0)
        self.count, self.total_ns, self.most_ns = (np.zeros(size, dtype=np.int64) for _ in range(3))
        self.least_ns = np.full(size, np.iinfo(np.int64).max)

    def _keep(self, times: pd.DataFrame, hops: Ints, ios: pa.Table) -> None:
        place = dict(zip(ios["io"].to_pylist(), ios["device_offset"].to_pylist(), strict=True))
        for io, row in zip(times.index.tolist(), hops.tolist(), strict=True):
            if len(self.rows) >= _ROWS:
                return
            self.rows.append(HopRow(int(io), place.get(io), tuple(row)))


def _order(times: pd.DataFrame) -> tuple[str, ...]:
    passed = times.columns[times.notna().mean() >= _FEW]
    # of IOs of one kind: others would move the place of some points and not of others
    whole = times[passed].dropna() if times[passed].notna().all(axis=1).any() else times[passed]
    places = whole.rank(axis=1).mean()
    return tuple(places.sort_values(kind="stable").index)


def _times(stages: pa.Table, ios: pa.Table, wanted: tuple[str, ...]) -> pd.DataFrame:
    """Return the first time of each point (columns) in each IO that has parts (index), NaN where it was not passed."""
    frame = stages.select(["io", "stage", "part", "begin_ns", "end_ns"]).to_pandas()
    name = frame["stage"].map(lambda number: _STAGES[number].value) + " " + frame["part"]
    ending = _leaves(frame, name) if not wanted else set(name)
    begins = pd.DataFrame({"io": frame["io"], "point": name, "ts": frame["begin_ns"].astype("float64")})
    ended = frame["end_ns"].notna() & name.isin(ending)
    ends = pd.DataFrame(
        {"io": frame["io"][ended], "point": name[ended] + " end", "ts": frame["end_ns"][ended].astype("float64")}
    )
    # ns since the first: a double has no room for a time of day and a ns
    base = int(frame["begin_ns"].min())
    points = pd.concat([begins, ends])
    points["ts"] -= base
    table = points.pivot_table(index="io", columns="point", values="ts", aggfunc="min")
    outer = ios.select(["io", *(f"t_{stamp}_ns" for stamp in (*_BOUNDS, *_LAST))]).to_pandas().set_index("io")
    outer = outer.loc[outer.index.isin(table.index)] - base
    outer.columns = [column.removeprefix("t_").removesuffix("_ns") for column in outer.columns]
    return table.join(outer.dropna(axis=1, how="all").astype("float64"))


def _leaves(frame: pd.DataFrame, name: pd.Series) -> set[str]:
    """Return the parts that no other part lies in, by the first IOs that have each.

    What begins in one and ends after it, as the hold of a lock does at the end of the wait for it, is not inside.
    """
    is_leaf: dict[str, bool] = {}
    for _, of in frame.assign(name=name)[frame["io"].isin(frame["io"].drop_duplicates().head(64))].groupby("io"):
        begins, ends = of["begin_ns"].to_numpy(), of["end_ns"].fillna(of["begin_ns"]).to_numpy()
        for part, begin, end in zip(of["name"], of["begin_ns"], of["end_ns"], strict=True):
            holds = bool(((begins > begin) & (ends < end)).any()) if end == end else False
            is_leaf[part] = is_leaf.get(part, True) and not holds
    return {part for part, leaf in is_leaf.items() if leaf}
