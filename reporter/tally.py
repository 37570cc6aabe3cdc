"""Compiled loops that count the times of IOs: sums by group of IOs, and the histogram."""

from typing import TypeVar

import numpy as np

from vio.reporter.buckets import BASE, SHIFT
from vio.reporter.compiled import Bools, Bytes, Ints, compiled

_T = TypeVar("_T")
Three = tuple[_T, _T, _T]


@compiled
def bucket_of(value: int) -> np.int64:
    """Return the bucket of a value from 0 to 2^53: its exponent and the first bits of its fraction (histogram)."""
    if value == 0:
        return np.int64(0)
    return (np.float64(value).view(np.int64) >> SHIFT) - BASE


@compiled
def tally(values: Ints, is_there: Bools, group: Ints, sums: Ints, buckets: Ints) -> tuple[int, int]:
    """Add up what is there by group, and count it in its buckets; return the least and the largest, or two zeros.

    `is_there` is empty where all are. What is negative or beyond the last bucket is counted in none.
    """
    figures = np.zeros(3, np.int64)
    for i in range(values.size):
        if not is_there.size or is_there[i]:
            sums[group[i]] += values[i]
            _count(values[i], buckets, figures)
    return figures[1], figures[2]


@compiled
def tally_parts(
    values: Three[Ints],
    bits: Three[Bytes],
    first: Ints,
    group: Ints,
    buckets: tuple[Ints, Ints, Ints, Ints],
    sums: Ints,
    reached: Ints,
    figures: Ints,
) -> None:
    """Count three times of each IO, and the sum of the three where there is any: each in its buckets, the sum last.

    `values[part]` begin at `first[part]`, and so do the `bits` of those that are there (empty: all); of a part without
    values there are none. `sums` (parts, groups) and `reached` (how many IOs of each group have any) are added to, and
    so is `figures` for each part and the sum: how many, the least (or 0), the largest.
    """
    for i in range(group.size):
        whole, is_any = 0, False
        for part in range(3):
            at = first[part] + i
            if not values[part].size or (bits[part].size and not (bits[part][at >> 3] >> (at & 7)) & 1):
                continue
            value = values[part][at]
            sums[part, group[i]] += value
            _count(value, buckets[part], figures[part])
            whole += value
            is_any = True
        if is_any:
            reached[group[i]] += 1
            _count(whole, buckets[3], figures[3])


@compiled
def tally_groups(values: Ints, bits: Bytes, first: int, group: Ints, sums: Ints, buckets: Ints) -> tuple[int, int]:
    """Add up what is there by group, and count it in its group's `buckets` (groups, buckets); else as `tally`.

    The values begin at `first`, and so do the `bits` of those that are there (empty: all).
    """
    figures = np.zeros(3, np.int64)
    for i in range(group.size):
        at = first + i
        if not bits.size or (bits[at >> 3] >> (at & 7)) & 1:
            sums[group[i]] += values[at]
            _count(values[at], buckets[group[i]], figures)
    return figures[1], figures[2]


@compiled
def _count(value: int, buckets: Ints, figures: Ints) -> None:
    figures[0] += 1
    figures[1] = min(figures[1], value)
    figures[2] = max(figures[2], value)
    if 0 <= value <= 1 << 53:
        buckets[bucket_of(value)] += 1


@compiled
def add_up(values: Ints, is_there: Bools, total: Ints, is_any: Bools) -> None:
    """Add what is there to `total`, and say so in `is_any`."""
    for i in range(values.size):
        if not is_there.size or is_there[i]:
            total[i] += values[i]
            is_any[i] = True


@compiled
def count_ios(group: Ints, is_whole: Bools, length: Ints, groups: int) -> Ints:
    """Count the IOs of each group, those that are whole, and their bytes (groups, 3)."""
    counts = np.zeros((groups, 3), np.int64)
    for i in range(group.size):
        counts[group[i], 0] += 1
        counts[group[i], 1] += is_whole[i]
        counts[group[i], 2] += length[i]
    return counts
