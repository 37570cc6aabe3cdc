"""Columns of the per-IO table as Arrow arrays: compiled loops fill the values and the bits that say which are there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.reporter.compiled import Bools, Ints, compiled

Bytes = npt.NDArray[np.uint8]

_NONE = -1


def column_at(values: Ints, at: Ints, rows: Ints) -> pa.Array:
    """Return for each of the rows the value at its place (`at[row]`), null where that is -1."""
    return nullable(*values_at(values, at, rows))


def nullable(values: Ints, bits: Bytes, count: int) -> pa.Array:
    """Make an array of which `count` values are there, those whose bit is set."""
    if count == values.size:
        return pa.array(values)
    return pa.Array.from_buffers(
        pa.int64(), values.size, [pa.py_buffer(bits), pa.py_buffer(values)], values.size - count
    )


def certain(values: npt.NDArray[Any], rows: Ints, type: pa.DataType) -> pa.Array:
    """Return the values of the rows, none of them null, as this type."""
    chosen = values if rows.size == values.size else values[rows]
    return pa.array(chosen.astype(type.to_pandas_dtype(), copy=False))


@compiled
def values_at(values: Ints, at: Ints, rows: Ints) -> tuple[Ints, Bytes, int]:
    """Return for each of the rows the value at its place, the bits of those that have one, and how many these are."""
    found = np.zeros(rows.size, np.int64)
    bits = np.zeros((rows.size + 7) // 8, np.uint8)
    count = 0
    for i in range(rows.size):
        place = at[rows[i]]
        if 0 <= place < values.size:
            found[i] = values[place]
            bits[i >> 3] |= np.uint8(1 << (i & 7))
            count += 1
    return found, bits, count


@compiled
def own_times(own: Ints, spans: Ints, is_unseen: Bools, rows: Ints, is_ended: Bools) -> tuple[Ints, Bytes, Ints, Ints]:
    """Return the times (stages, phases, rows), bits and counts of the rows that have them by stage, and what is lost.

    Rows of which a stage `is_unseen` have no time there; it is lost to them.
    """
    stages, phases = own.shape[0], own.shape[1]
    times = np.zeros((stages, phases, rows.size), np.int64)
    bits = np.zeros((stages, (rows.size + 7) // 8), np.uint8)
    counts = np.zeros(stages, np.int64)
    lost = np.zeros(rows.size, np.int64)
    for stage in range(stages):
        for i in range(rows.size):
            io = rows[i]
            if spans[stage, io] == 0 or not is_ended[io]:
                continue
            bits[stage, i >> 3] |= np.uint8(1 << (i & 7))
            counts[stage] += 1
            for phase in range(phases):
                if is_unseen[stage, io]:
                    lost[i] += own[stage, phase, io]
                else:
                    times[stage, phase, i] = own[stage, phase, io]
    return times, bits, counts, lost


@compiled
def earliest(owner: Ints, at: Ints, owners: int) -> Ints:
    """Return the least of what each owns (places not below 0), -1 where that is nothing."""
    first = np.full(owners, _NONE, np.int64)
    for i in range(owner.size):
        if 0 <= owner[i] < owners and at[i] >= 0 and (first[owner[i]] < 0 or at[i] < first[owner[i]]):
            first[owner[i]] = at[i]
    return first
