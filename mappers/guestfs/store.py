"""The guest's files as one Arrow table in a recording: which file of the guest lies where on its disk."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vio.errors import MapError, RecordingError
from vio.mappers.kind import Ints
from vio.mappers.named import NamedRanges
from vio.mappers.space import guest_space
from vio.schema import Column

COLUMNS = (
    Column("disk", pa.dictionary(pa.int32(), pa.string()), "", "Name of the disk."),
    Column("start", pa.int64(), "bytes", "First byte of the range on the guest's disk."),
    Column("length", pa.int64(), "bytes", "Length of the range."),
    Column(
        "name",
        pa.dictionary(pa.int32(), pa.string()),
        "",
        "Whose it is: VOLUME:/PATH, or VOLUME:[what] for metadata that belongs to no file.",
    ),
    Column("offset", pa.int64(), "bytes", "Byte inside that file at which the range begins."),
)
SCHEMA = pa.schema([pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in COLUMNS])


def files_table(disks: Sequence[tuple[str, NamedRanges]]) -> pa.Table:
    """Store the files of each disk."""
    tables = [_table_of(disk, ranges) for disk, ranges in disks]
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries()


def files_from(table: pa.Table) -> dict[str, NamedRanges]:
    """Read the files back, by disk; raise RecordingError for a table that cannot be believed."""
    missing = [column.name for column in COLUMNS if column.name not in table.column_names]
    if missing or any(table[column.name].null_count for column in COLUMNS if not missing):
        raise RecordingError(f"stored files of the guest lack {', '.join(missing) or 'values'}")
    table = table.unify_dictionaries().combine_chunks()
    disks, names = (_codes(table, name) for name in ("disk", "name"))
    start, length, offset = (np.asarray(table[name].to_numpy(), np.int64) for name in ("start", "length", "offset"))
    found: dict[str, NamedRanges] = {}
    for number, disk in enumerate(disks[1]):
        mine = disks[0] == number
        try:
            columns = (start[mine], length[mine], names[0][mine], offset[mine])
            found[disk] = NamedRanges.of(guest_space(disk), names[1], *columns)
        except MapError as error:
            raise RecordingError(f"stored files of the guest: {error.message}") from error
    return found


def _table_of(disk: str, ranges: NamedRanges) -> pa.Table:
    zeros = pa.array(np.zeros(len(ranges), dtype=np.int32))
    names = [name.encode("utf-8", "replace").decode() for name in ranges.names]
    columns = [
        pa.DictionaryArray.from_arrays(zeros, pa.array([disk])),
        pa.array(ranges.start),
        pa.array(ranges.length),
        pa.DictionaryArray.from_arrays(pa.array(ranges.owner.astype(np.int32)), pa.array(names, pa.string())),
        pa.array(ranges.offset),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _codes(table: pa.Table, name: str) -> tuple[Ints, list[str]]:
    column = table[name]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if column.num_chunks == 0:
        return np.empty(0, dtype=np.int64), []
    array = column.chunk(0)
    return np.asarray(array.indices.to_numpy(), dtype=np.int64), [str(one) for one in array.dictionary.to_pylist()]
