"""Raw records in arrays, as they came from the kernel, and their decoding into the columns of an event table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.recorder.generate import Chosen
from vio.recorder.recordform import WORDS
from vio.recorder.wire import U64
from vio.schema import EVENTS, arrow_schema

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
EVENT_SCHEMA = arrow_schema(EVENTS)
SECTOR_SHIFT = 9
POINTS = 256
_32 = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Rows:
    """Records: five words and, for those of a thread's batch, the thread (0 for all others)."""

    time_ns: I64
    header: U64
    extent: U64
    offset: U64
    key: U64
    owner: U32

    def __len__(self) -> int:
        return len(self.time_ns)

    def pick(self, which: slice | npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        return Rows(
            self.time_ns[which],
            self.header[which],
            self.extent[which],
            self.offset[which],
            self.key[which],
            self.owner[which],
        )


def no_rows(count: int = 0) -> Rows:
    """Return room for `count` rows, with nothing in it."""
    header, extent, offset, key = (np.empty(count, np.uint64) for _ in range(4))
    return Rows(np.empty(count, np.int64), header, extent, offset, key, np.empty(count, np.uint32))


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, one part after the other."""
    if len(parts) < 2:
        return parts[0] if parts else no_rows()
    return Rows(
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.header for part in parts]),
        np.concatenate([part.extent for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.owner for part in parts]),
    )


def rows_of(records: Sequence[tuple[int, ...]], owners: Sequence[int]) -> Rows:
    """Make rows of single records."""
    time_ns, header, extent, offset, key = np.array(records, np.uint64).reshape(len(records), WORDS).T.copy()
    return Rows(time_ns.view(np.int64), header, extent, offset, key, np.array(owners, np.uint64).astype(np.uint32))


@dataclass(frozen=True, slots=True)
class Scaling:
    """For each point by how many bits its offset and its bytes are shifted to become bytes."""

    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


def scaling_of(chosen: Iterable[Chosen]) -> Scaling:
    """Take from the points' `unit` and `fields` which numbers are sectors.

    A length is scaled only if the fields say `bytes` with nothing behind it: `bytes=old-dev` is no length.
    """
    scaling = Scaling(np.zeros(POINTS, np.int64), np.zeros(POINTS, np.int64))
    for one in chosen:
        if one.point.unit == 1:
            continue
        scaling.offset[one.number] = SECTOR_SHIFT
        if "bytes" in one.point.fields.split():
            scaling.length[one.number] = SECTOR_SHIFT
    return scaling


def decode(rows: Rows, scaling: Scaling) -> pa.Table:
    """Decode raw records into the columns of schema.EVENTS, in the order they have."""
    high = (rows.header >> _32).astype(np.uint32)
    point = rows.header.astype(np.uint8)
    has_owner = rows.owner != 0
    columns = {
        "ts_ns": rows.time_ns,
        "point": point,
        "flags": (rows.header >> np.uint64(8)).astype(np.uint16),
        "tid": np.where(has_owner, rows.owner, high).view(np.int32),
        "space": (rows.extent >> _32).astype(np.uint32),
        "bytes": rows.extent.astype(np.uint32).astype(np.int64) << scaling.length[point],
        "offset": _shifted(rows.offset.view(np.int64), scaling.offset[point]),
        "key": rows.key,
        "aux": np.where(has_owner, high, np.uint32(0)),
    }
    return pa.Table.from_arrays([pa.array(columns[c.name], c.type) for c in EVENTS], schema=EVENT_SCHEMA)


def _shifted(offset: I64, shift: I64) -> I64:
    # A flush has no address: its sector is 2^64-1, which stays -1.
    return np.where(offset < 0, offset, offset << shift)
