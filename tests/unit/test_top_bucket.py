"""Buckets of times: what the program computes is what vio reads."""

import re
from random import Random

import pytest

from vio.recorder.top.bucket import (
    BUCKETS,
    PER_OCTAVE,
    bounds_ns,
    bucket_of,
    bucket_statements,
    longest_ns,
    percentile_ns,
)

TIMES = [0, 1, 15, 16, 17, 31, 32, 511, 512, 1000, 4095, 4096, 10**6, 10**9, 2**32 - 1, 2**32, 2**40, 2**63]


def run_statements(time_ns: int) -> int:
    """Run the program's statements as Python, in 64 bits."""
    lines = []
    for line in bucket_statements("$t", "$b"):
        text = line.replace("(uint64)", "").replace("$", "")
        found = re.fullmatch(r"if \((.*?)\) \{ (.*) \}", text)
        lines += [f"if {found[1]}:", *(f"    {one.strip()}" for one in found[2].split(";") if one)] if found else [text]
    names = {"t": time_ns}
    exec("\n".join(lines), {}, names)
    return names["b"]


@pytest.mark.parametrize("time_ns", TIMES)
def test_the_program_and_vio_agree(time_ns: int) -> None:
    assert run_statements(time_ns) == bucket_of(time_ns) < BUCKETS


@pytest.mark.parametrize("time_ns", [time for time in TIMES if time >= 16])
def test_a_time_is_within_its_bucket_which_is_narrow(time_ns: int) -> None:
    low, high = bounds_ns(bucket_of(time_ns))
    assert low <= time_ns < high
    assert (high - low) * PER_OCTAVE <= low


def test_buckets_follow_one_another() -> None:
    first = bucket_of(16)
    assert all(bounds_ns(bucket)[1] == bounds_ns(bucket + 1)[0] for bucket in range(first, BUCKETS - 1))


def test_percentiles_are_off_by_no_more_than_a_bucket() -> None:
    random = Random(1)
    times = sorted(int(random.lognormvariate(11, 1.5)) + 16 for _ in range(5000))
    counts: dict[int, int] = {}
    for time_ns in times:
        counts[bucket_of(time_ns)] = counts.get(bucket_of(time_ns), 0) + 1
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        exact = times[max(round(share * len(times)) - 1, 0)]
        assert percentile_ns(counts, share) == pytest.approx(exact, rel=1 / PER_OCTAVE)
    longest = longest_ns(counts)
    assert longest is not None
    assert times[-1] <= longest <= times[-1] * (1 + 1 / PER_OCTAVE) + 1


def test_nothing_has_no_percentile() -> None:
    assert percentile_ns({}, 0.5) is None
    assert longest_ns({}) is None
    assert longest_ns({100: 0}) is None
