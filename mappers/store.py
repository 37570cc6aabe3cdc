"""The maps of a recording as one Arrow table."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.errors import RecordingError
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.timed import MapSet, TimedMap
from vio.schema import Column

COLUMNS = (
    Column("map_id", pa.int32(), "", "Which map the range belongs to; counts from 0."),
    Column("source", pa.dictionary(pa.int32(), pa.string()), "", "Address space of `start`."),
    Column("target", pa.dictionary(pa.int32(), pa.string()), "", "Address space of `target_start`."),
    Column("valid_from_ns", pa.int64(), "ns", "Boot time at which the map was taken."),
    Column("valid_to_ns", pa.int64(), "ns", "Boot time from which it no longer holds; 2^63-1: none known."),
    Column("copy", pa.int32(), "", "Which copy of the data, or path to it, where there are several; else 0."),
    Column("start", pa.int64(), "bytes", "First byte of the range in the source space."),
    Column("length", pa.int64(), "bytes", "Length of the range in the source space."),
    Column("target_start", pa.int64(), "bytes", "Where it lies in the target space; -1: nowhere."),
    Column(
        "target_length",
        pa.int64(),
        "bytes",
        "Bytes taken there: `length`, or the compressed length; 0: not known.",
    ),
    Column("kind", pa.uint8(), "", "Base kind in the low 4 bits, flags in the high 4 (vio.mappers.kind)."),
)
SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in COLUMNS])


def to_table(maps: MapSet) -> pa.Table:
    """Store the maps as one table of schema `SCHEMA`; a map without a range leaves nothing."""
    if len(maps) == 0:
        return SCHEMA.empty_table()
    tables = [_table_of(map_id, timed) for map_id, timed in enumerate(maps)]
    return pa.concat_tables(tables).unify_dictionaries()


def from_table(table: pa.Table) -> MapSet:
    """Read maps back.

    Raises RecordingError for a table of another schema, MapError for impossible ranges.
    """
    if "copy" not in table.column_names:  # added in version 1.1
        table = table.append_column("copy", pa.array(np.zeros(table.num_rows, dtype=np.int32)))
    missing = [column.name for column in COLUMNS if column.name not in table.column_names]
    if missing:
        raise RecordingError(f"stored maps lack the columns {', '.join(missing)}")
    if any(table[name].null_count for name in ("source", "target")):
        raise RecordingError("stored maps: a map has no name of its space")
    map_id = _numbers(table, "map_id")
    if len(map_id) == 0:
        return MapSet()
    edges = (np.flatnonzero(np.diff(map_id)) + 1).tolist()
    bounds = zip([0, *edges], [*edges, len(map_id)], strict=True)
    return MapSet(tuple(_map_of(table.slice(first, last - first)) for first, last in bounds))


def _table_of(map_id: int, timed: TimedMap) -> pa.Table:
    ranges, count = timed.map, len(timed.map)
    zeros = pa.array(np.zeros(count, dtype=np.int32))
    columns = [
        pa.array(np.full(count, map_id, dtype=np.int32)),
        pa.DictionaryArray.from_arrays(zeros, pa.array([ranges.source_space])),
        pa.DictionaryArray.from_arrays(zeros, pa.array([ranges.target_space])),
        pa.array(np.full(count, timed.valid_from_ns)),
        pa.array(np.full(count, timed.valid_to_ns)),
        pa.array(np.full(count, timed.copy, dtype=np.int32)),
        *(pa.array(column) for column in ranges.rows),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _map_of(table: pa.Table) -> TimedMap:
    starts, lengths, targets, stored = (
        _numbers(table, name) for name in ("start", "length", "target_start", "target_length")
    )
    rows = Rows(starts, lengths, targets, stored, _numbers(table, "kind").astype(np.uint8))
    spaces = (str(table["source"][0].as_py()), str(table["target"][0].as_py()))
    valid = (int(_numbers(table, "valid_from_ns")[0]), int(_numbers(table, "valid_to_ns")[0]))
    return TimedMap(RangeMap.from_rows(*spaces, rows), *valid, copy=int(_numbers(table, "copy")[0]))


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    column = table[name]
    if column.null_count or not pa.types.is_integer(column.type):
        raise RecordingError(f"stored maps: the column {name} holds something that is no number")
    return np.asarray(column.to_numpy(), dtype=np.int64)
