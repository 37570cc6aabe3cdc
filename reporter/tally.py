"""Compiled loops that count the times of IOs: sums by group of IOs, and the histogram."""

from vio.reporter.buckets import FRACTION_BITS
from vio.reporter.compiled import Bools, Ints, compiled


@compiled
def bucket_of(value: int) -> int:
    """Return the bucket of a value from 0 to 2^53: its exponent and the first bits of its fraction (histogram)."""
    if value == 0:
        return 0
    exponent, rest = 0, value
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> step:
            exponent += step
            rest >>= step
    return (exponent << FRACTION_BITS) + ((value << FRACTION_BITS) >> exponent) - (1 << FRACTION_BITS) + 1


@compiled
def tally(values: Ints, is_there: Bools, group: Ints, sums: Ints, buckets: Ints) -> tuple[int, int]:
    """Add up what is there by group, and count it in its buckets; return the least and the largest, or two zeros.

    `is_there` is empty where all are. What is negative or beyond the last bucket is counted in none.
    """
    least, largest = 0, 0
    for i in range(values.size):
        if is_there.size and not is_there[i]:
            continue
        value = values[i]
        least = min(least, value)
        largest = max(largest, value)
        sums[group[i]] += value
        if 0 <= value <= 1 << 53:
            buckets[bucket_of(value)] += 1
    return least, largest


@compiled
def add_up(values: Ints, is_there: Bools, total: Ints, is_any: Bools) -> None:
    """Add what is there to `total`, and say so in `is_any`."""
    for i in range(values.size):
        if not is_there.size or is_there[i]:
            total[i] += values[i]
            is_any[i] = True
