"""Named ranges: who owns which bytes, checked byte by byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.errors import MapError
from vio.mappers.named import NOBODY, NamedRanges

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(0, 2), st.integers(0, 50)), max_size=8)
NAMES = ("a", "b", "c")


def named(rows: list[tuple[int, int, int, int]]) -> NamedRanges:
    start, length, owner, offset = (np.array([row[n] for row in rows], dtype=np.int64) for n in range(4))
    return NamedRanges.of("guest:x", NAMES, start, length, owner, offset)


@given(RANGES, st.integers(0, 70), st.integers(1, 40))
def test_every_byte_has_an_owner_that_claims_it(rows: list[tuple[int, int, int, int]], start: int, length: int) -> None:
    found = named(rows).lookup(start, length)
    assert int(found.length.sum()) == length
    for begin, size, owner, offset in zip(found.start, found.length, found.owner, found.offset, strict=True):
        for byte in range(size):
            claims = {(o, off + begin + byte - s) for s, n, o, off in rows if s <= begin + byte < s + n}
            assert (owner, offset + byte) in claims if owner != NOBODY else not claims


@given(RANGES)
def test_a_file_is_all_its_ranges_in_its_own_order(rows: list[tuple[int, int, int, int]]) -> None:
    mine = named(rows).of_owner("b")
    assert sorted(zip(mine.offset.tolist(), mine.start.tolist(), mine.length.tolist(), strict=True)) == sorted(
        (offset, start, length) for start, length, owner, offset in rows if owner == 1
    )
    assert mine.offset.tolist() == sorted(mine.offset.tolist())
    assert len(named(rows).of_owner("nobody of that name")) == 0


def test_bytes_are_summed_by_name() -> None:
    assert named([(0, 5, 0, 0), (10, 7, 2, 0), (20, 1, 2, 7)]).bytes_by_name == {"a": 5, "c": 8}


@pytest.mark.parametrize("row", [(-1, 5, 0, 0), (0, 0, 0, 0), (2**62, 2**62, 0, 0), (0, 1, 3, 0), (0, 1, -1, 0)])
def test_impossible_ranges_are_refused(row: tuple[int, int, int, int]) -> None:
    with pytest.raises(MapError, match="guest:x"):
        named([row])
