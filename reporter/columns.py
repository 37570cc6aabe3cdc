"""Columns of the per-IO table as Arrow arrays: compiled loops write and read the values and the bits that are there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.reporter.compiled import Bools, Bytes, Ints, compiled
from vio.reporter.histogram import EVERY, Values

_NONE = -1


def column_at(values: Ints, at: Ints, rows: Ints) -> pa.Array:
    """Return for each of the rows the value at its place (`at[row]`), null where that is -1."""
    return nullable(*values_at(values, at, rows))


def nullable(values: Ints, bits: Bytes) -> pa.Array:
    """Make an array of which those values are there whose bit is set."""
    return pa.Array.from_buffers(pa.int64(), values.size, [pa.py_buffer(bits), pa.py_buffer(values)])


def certain(values: npt.NDArray[Any], rows: Ints, type: pa.DataType) -> pa.Array:
    """Return the values of the rows, none of them null, as this type."""
    chosen = values if rows.size == values.size else values[rows]
    return pa.array(chosen.astype(type.to_pandas_dtype(), copy=False))


def values_of(column: pa.Array) -> Values:
    """Return a column's times as they lie in memory."""
    bits, data = column.buffers()
    there = np.frombuffer(bits, dtype=np.uint8) if column.null_count else np.empty(0, dtype=np.uint8)
    return Values(np.frombuffer(data, dtype=np.int64), there, column.offset)


def read_times(column: pa.Array) -> tuple[Ints, Bools]:
    """Return a column's values, with anything at all where there is none, and which are there (EVERY: all)."""
    values, rows = values_of(column), slice(column.offset, column.offset + len(column))
    if not column.null_count:
        return values.all_ns[rows], EVERY
    return values.all_ns[rows], np.unpackbits(values.bits, count=rows.stop, bitorder="little")[rows].view(np.bool_)


def numbers_of(column: pa.Array, rows: Ints) -> Ints:
    """Return some rows of a column of whole numbers, 0 where there is none."""
    values = values_of(column if column.type == pa.int64() else column.cast(pa.int64()))
    return _numbers_at(values.all_ns, values.bits, values.first, rows)


@compiled
def _numbers_at(values: Ints, bits: Bytes, first: int, rows: Ints) -> Ints:
    """Return the numbers of some rows from `first` on, 0 where the bit is not set (no bits: all are)."""
    found = np.zeros(rows.size, np.int64)
    for i in range(rows.size):
        at = first + rows[i]
        if not bits.size or (bits[at >> 3] >> (at & 7)) & 1:
            found[i] = values[at]
    return found


@compiled
def values_at(values: Ints, at: Ints, rows: Ints) -> tuple[Ints, Bytes]:
    """Return for each of the rows the value at its place, and the bits of those that have one."""
    found = np.zeros(rows.size, np.int64)
    bits = np.zeros((rows.size + 7) // 8, np.uint8)
    for i in range(rows.size):
        place = at[rows[i]]
        if 0 <= place < values.size:
            found[i] = values[place]
            bits[i >> 3] |= np.uint8(1 << (i & 7))
    return found, bits


@compiled
def earliest(owner: Ints, at: Ints, owners: int) -> Ints:
    """Return the least of what each owns (places not below 0), -1 where that is nothing."""
    first = np.full(owners, _NONE, np.int64)
    for i in range(owner.size):
        if 0 <= owner[i] < owners and at[i] >= 0 and (first[owner[i]] < 0 or at[i] < first[owner[i]]):
            first[owner[i]] = at[i]
    return first
