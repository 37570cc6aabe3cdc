"""Columns of the per-IO table as Arrow arrays: compiled loops fill the values and the bits that say which are there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.reporter.compiled import Bytes, Ints, compiled

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
