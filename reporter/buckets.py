"""The buckets of a log-linear histogram of times: exponent and first seven bits of the fraction of a value's double.

Values below 256 ns have buckets of their own; above, a bucket is 1/128 to 1/256 of its values wide and is read at its
middle: off by at most 1/256 (0.4 %).
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FRACTION_BITS = 7
RELATIVE_ERROR = 1 / 256
# Doubles are exact below 2**53 ns, which is 104 days.
LARGEST = 1 << 53
BUCKETS = (53 << FRACTION_BITS) + 2

SHIFT = 52 - FRACTION_BITS
# Bucket 0 is for zero, bucket 1 for [1, 1 + 1/128).
BASE = (1023 << FRACTION_BITS) - 1


def bucket_bounds(buckets: Ints) -> tuple[Floats, Floats]:
    """Return the least value of each bucket, and of the one after it."""
    edges = ((np.stack([buckets, buckets + 1]) + BASE) << SHIFT).view(np.float64)
    edges[0][buckets == 0] = 0
    return edges[0], edges[1]


def bucket_numbers(values: Ints) -> Ints:
    """Return the bucket of each value from 0 to 2^53."""
    numbers = (values.astype(np.float64).view(np.int64) >> SHIFT) - BASE
    numbers[values == 0] = 0
    return numbers


def bucket_values(buckets: Ints) -> Floats:
    """Return the middle of the whole numbers that each bucket holds."""
    low, high = bucket_bounds(buckets)
    # The whole numbers of a bucket are its low edge up to the one before its high edge.
    return np.asarray((np.ceil(low) + np.ceil(high) - 1) / 2)
