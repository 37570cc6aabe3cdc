"""Buckets of times: 16 to each power of two, so a bucket is at most 1/16 as wide as its times are long. Pure.

A time in ns with its highest bit at `e` is in bucket `16 * e + (the four bits below it)`; the least is 16 ns.
"""

from collections.abc import Mapping

BITS = 4
PER_OCTAVE = 1 << BITS
BUCKETS = 64 * PER_OCTAVE
_STEPS = (32, 16, 8, 4, 2, 1)


def bucket_of(time_ns: int) -> int:
    """Return the bucket of a time, as the program computes it."""
    time_ns = max(time_ns, PER_OCTAVE)
    exponent = time_ns.bit_length() - 1
    return PER_OCTAVE * exponent + ((time_ns >> (exponent - BITS)) & (PER_OCTAVE - 1))


def bounds_ns(bucket: int) -> tuple[int, int]:
    """Return the least time of a bucket and the least of the next one, in ns."""
    exponent, part = divmod(bucket, PER_OCTAVE)
    width = 1 << max(exponent - BITS, 0)
    low = (PER_OCTAVE + part) * width
    return low, low + width


def percentile_ns(counts: Mapping[int, int], share: float) -> float | None:
    """Return the time that this share of the IOs does not exceed, in ns; None if there are none.

    Within a bucket the times are taken as evenly spread: it is off by 1/16 at most.
    """
    total = sum(counts.values())
    if not total:
        return None
    wanted, below = share * total, 0
    for bucket in sorted(counts):
        if below + counts[bucket] >= wanted and counts[bucket]:
            low, high = bounds_ns(bucket)
            return low + (high - low) * max(wanted - below, 0) / counts[bucket]
        below += counts[bucket]
    return float(bounds_ns(max(counts))[1])


def longest_ns(counts: Mapping[int, int]) -> int | None:
    """Return the end of the highest bucket that has IOs, in ns; None if there are none."""
    filled = [bucket for bucket, count in counts.items() if count]
    return bounds_ns(max(filled))[1] if filled else None


def bucket_statements(time: str, bucket: str) -> list[str]:
    """Return the statements of a bpftrace program that put the bucket of variable `time` into variable `bucket`.

    A time below 16 ns becomes 16.
    """
    lines = [f"if ({time} < (uint64){PER_OCTAVE}) {{ {time} = (uint64){PER_OCTAVE}; }}"]
    lines += [f"$v = {time};", "$e = (uint64)0;"]
    for bits in _STEPS:
        lines.append(f"if ($v >= (uint64){1 << bits}) {{ $v = $v >> (uint64){bits}; $e = $e + (uint64){bits}; }}")
    part = f"({time} >> ($e - (uint64){BITS})) & (uint64){PER_OCTAVE - 1}"
    return [*lines, f"{bucket} = ($e << (uint64){BITS}) | ({part});"]
