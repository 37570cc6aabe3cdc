"""The way of each IO from point to point: the time between successive points, as one row for each IO.

Points are the begins of parts, the ends of those parts that nothing lies in, marks, and the bounds of the layers, in
the order in which the first IOs passed them; or those that were asked for, which may be the end of any part.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.errors import UsageError
from vio.layer import Stage
from vio.printable import printable
from vio.reporter.compiled import Bools, Floats, Ints

_STAGES = tuple(Stage)
_BOUNDS = ("accept", "block_begin", "aio_submit", "vfs_begin", "fs_begin", "bio_queue", "rq_issue", "rq_complete")
_LAST = ("fs_end", "vfs_end", "aio_end", "block_end", "push", "notify")
_ROWS = 4096
_LEARNED = 64  # IOs that tell which parts lie in which
_FEW = 0.5  # of the IOs must have passed a point for it to be on the way


@dataclass(frozen=True, slots=True)
class HopRow:
    """One IO: its number, the place on the device (None if it reached none), ns from point to point (-1: not known)."""

    io: int
    device_offset: int | None
    hops_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Times:
    """When IOs first passed points: ns since some time (IOs, points), NaN where they did not."""

    io: Ints
    points: tuple[str, ...]
    ns: Floats

    def of(self, points: tuple[str, ...]) -> Floats:
        """Return the times of these points, which need not be among its own."""
        found = np.full((self.io.size, len(points)), np.nan)
        for column, point in enumerate(points):
            if point in self.points:
                found[:, column] = self.ns[:, self.points.index(point)]
        return found


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
        self.known.update(times.points)
        if not self.points:
            self.order = _order(times)
            self._begin(self.wanted or self.order)
        hops = np.diff(times.of(self.points), axis=1)
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

    def _keep(self, times: _Times, hops: Ints, ios: pa.Table) -> None:
        place = dict(zip(ios["io"].to_pylist(), ios["device_offset"].to_pylist(), strict=True))
        for io, row in zip(times.io.tolist(), hops.tolist(), strict=True):
            if len(self.rows) >= _ROWS:
                return
            self.rows.append(HopRow(int(io), place.get(io), tuple(row)))


def _order(times: _Times) -> tuple[str, ...]:
    is_passed = np.isfinite(times.ns)
    often = np.flatnonzero(is_passed.mean(axis=0) >= _FEW)
    ns, is_passed = times.ns[:, often], is_passed[:, often]
    # of IOs of one kind: others would move the place of some points and not of others
    whole = is_passed.all(axis=1)
    places = np.nanmean(_places(ns[whole] if whole.any() else ns), axis=0)
    return tuple(times.points[often[one]] for one in np.argsort(places, kind="stable"))


def _places(ns: Floats) -> Floats:
    """Return the place of each time in its row, the mean of places where some are equal, NaN where there is none."""
    places = np.empty_like(ns)
    for column, values in enumerate(ns.T):
        before, with_it = (ns < values[:, None]).sum(axis=1), (ns == values[:, None]).sum(axis=1)
        places[:, column] = np.where(with_it > 0, before + (with_it + 1) / 2, np.nan)
    return places


def _times(stages: pa.Table, ios: pa.Table, wanted: tuple[str, ...]) -> _Times:
    """Return the first time of each point in each IO that has parts: the parts' by name, then the layers' bounds."""
    io, at = np.unique(stages["io"].to_numpy(), return_inverse=True)
    names, part = _part_names(stages)
    # ns since the first: a double has no room for a time of day and a ns
    base = int(stages["begin_ns"].to_numpy().min())
    begin, end = _since(stages["begin_ns"], base), _since(stages["end_ns"], base)
    ending = set(names) if wanted else _leaves(names, part, stages["io"].to_numpy(), begin, end)
    columns = {name: _first(at, begin, part == number, io.size) for number, name in enumerate(names)}
    for number, name in enumerate(names):
        if name in ending:
            columns[f"{name} end"] = _first(at, end, part == number, io.size)
    outer = ios.filter(pc.is_in(ios["io"], pa.array(io)))
    place = np.searchsorted(io, outer["io"].to_numpy())
    bounds = {}
    for stamp in (*_BOUNDS, *_LAST):
        bounds[stamp] = np.full(io.size, np.nan)
        bounds[stamp][place] = _since(outer[f"t_{stamp}_ns"], base)
    there = {name: ns for name, ns in (*sorted(columns.items()), *bounds.items()) if np.isfinite(ns).any()}
    return _Times(io, tuple(there), np.stack(list(there.values()), axis=1))


def _part_names(stages: pa.Table) -> tuple[list[str], Ints]:
    """Return the names of the parts, with their stages', and the number of each row's."""
    part = stages["part"].combine_chunks().dictionary_encode()
    words = part.dictionary.to_pylist()
    code = stages["stage"].to_numpy().astype(np.int64) * len(words) + part.indices.to_numpy()
    present, numbers = np.unique(code, return_inverse=True)
    return [f"{_STAGES[one // len(words)]} {words[one % len(words)]}" for one in present.tolist()], numbers


def _since(times_ns: pa.ChunkedArray, base_ns: int) -> Floats:
    """Return ns since the base, NaN where there is none."""
    since = pc.subtract(times_ns, base_ns).cast(pa.float64())
    return np.asarray(since.to_numpy())


def _first(at: Ints, ns: Floats, mine: Bools, size: int) -> Floats:
    """Return the least of the chosen times for each IO."""
    first = np.full(size, np.nan)
    np.fmin.at(first, at[mine], ns[mine])
    return first


def _leaves(names: list[str], part: Ints, io: Ints, begin: Floats, end: Floats) -> set[str]:
    """Return the parts that no other part lies in, by the first IOs that have each.

    What begins in one and ends after it, as the hold of a lock does at the end of the wait for it, is not inside.
    """
    holding = set()
    of_io, first = np.unique(io, return_index=True)
    for one in of_io[np.argsort(first)][:_LEARNED]:
        mine = np.flatnonzero(io == one)
        ends = np.where(np.isnan(end[mine]), begin[mine], end[mine])
        is_inside = (begin[mine] > begin[mine, None]) & (ends < end[mine, None])
        holding |= set(part[mine[is_inside.any(axis=1)]].tolist())
    return {names[number] for number in set(part.tolist()) - holding}
