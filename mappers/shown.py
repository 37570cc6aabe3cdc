"""What a run shows of a map: ranges that lay somewhere from a time to a time, put over the maps that were taken."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from vio.errors import RecordingError
from vio.mappers.compose import overlaid
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Bools, Ints, Kind, Kinds
from vio.mappers.store import COLUMNS as OF_MAPS
from vio.mappers.timed import FOREVER_NS, MapSet, TimedMap

_MEANINGS = {
    "valid_from_ns": "Boot time from which on it was seen to hold.",
    "valid_to_ns": "Boot time from which it no longer holds, or a taken map says it too; 2^63-1: none known.",
    "target_start": "Where it lies in the target space; -1: not where the taken maps say, nothing more is known.",
}
COLUMNS = tuple(
    replace(column, meaning=_MEANINGS.get(column.name, column.meaning))
    for column in OF_MAPS
    if column.name not in ("map_id", "copy")
)
SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in COLUMNS])


@dataclass(frozen=True, slots=True, eq=False)
class ShownMap:
    """Ranges of one space in another, each for a time of its own, `[from_ns, to_ns)`; at no time do two overlap.

    `target` is -1 where it is only known that what the taken maps say does not hold.
    """

    source_space: str
    target_space: str
    start: Ints
    length: Ints
    target: Ints
    from_ns: Ints
    to_ns: Ints

    def at(self, at_ns: int) -> RangeMap:
        """Return what holds at a boot time; MapError if ranges overlap then."""
        rows = np.flatnonzero((self.from_ns <= at_ns) & (at_ns < self.to_ns))
        target = self.target[rows]
        kind = _kinds(target)
        return RangeMap.of(self.source_space, self.target_space, self.start[rows], self.length[rows], target, kind)

    def table(self) -> pa.Table:
        """Return the rows as a table of schema `SCHEMA`."""
        zeros = pa.array(np.zeros(len(self.start), dtype=np.int32))
        spaces = [pa.DictionaryArray.from_arrays(zeros, [name]) for name in (self.source_space, self.target_space)]
        stored = np.where(self.target >= 0, self.length, 0)
        columns = (self.from_ns, self.to_ns, self.start, self.length, self.target, stored, _kinds(self.target))
        return pa.Table.from_arrays([*spaces, *(pa.array(column) for column in columns)], schema=SCHEMA)


def shown_from(table: pa.Table) -> list[ShownMap]:
    """Read the rows of `SCHEMA` back, a map for each pair of spaces.

    Raises RecordingError for a table of another schema.
    """
    if not {column.name for column in COLUMNS} <= set(table.column_names):
        raise RecordingError("the table of what the run shows lacks columns")
    spaces = [table[name].cast(pa.string()).to_numpy() for name in ("source", "target")]
    pairs = dict.fromkeys(zip(*(names.tolist() for names in spaces), strict=True))
    return [_of_pair(table, source, target, (spaces[0] == source) & (spaces[1] == target)) for source, target in pairs]


def with_shown(maps: MapSet, shown: Iterable[ShownMap], at_ns: int) -> MapSet:
    """Return the maps that hold at a boot time, with what the run shows put over them.

    What is shown to lie in one file is in no other: a backing file's map has no such range any more. Where several
    show a place of the same range, the last of them has it.
    """
    now = {(one.map.source_space, one.map.target_space, one.copy): one for one in _valid(maps, at_ns)}
    for one in shown:
        layer = one.at(at_ns)
        if not len(layer):
            continue
        place = (one.source_space, one.target_space, 0)
        now.setdefault(place, TimedMap(RangeMap.of(one.source_space, one.target_space, [], [], []), at_ns))
        for key, timed in now.items():
            if key[0] == one.source_space:
                upper = layer if key == place else _without_places(layer, timed.map)
                now[key] = replace(timed, map=overlaid(timed.map, upper), valid_to_ns=FOREVER_NS)
    return MapSet(tuple(now.values()))


def _valid(maps: MapSet, at_ns: int) -> list[TimedMap]:
    return [timed for space in maps.sources() for timed in maps.timed_at(space, at_ns)]


def _without_places(layer: RangeMap, like: RangeMap) -> RangeMap:
    """Return a layer for a map to another space: it takes the same ranges away, and says nothing of them."""
    nowhere = np.full(len(layer), NOWHERE)
    return RangeMap.of(like.source_space, like.target_space, layer.start, layer.length, nowhere, Kind.UNMAPPED)


def _kinds(target: Ints) -> Kinds:
    return np.where(target >= 0, Kind.MAPPED, Kind.UNMAPPED).astype(np.uint8)


def _of_pair(table: pa.Table, source: str, target: str, is_mine: Bools) -> ShownMap:
    names = ("start", "length", "target_start", "valid_from_ns", "valid_to_ns")
    columns = (np.asarray(table[name].to_numpy(), dtype=np.int64)[is_mine] for name in names)
    return ShownMap(source, target, *columns)
