"""The algebra of maps, against a model that knows every byte."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.compose import compose, difference
from vio.mappers.extent import NOWHERE, RangeMap, Rows
from vio.mappers.kind import FLAG_MASK, Flag, Kind, name_of, stacked

SIZE = 48
LINEAR = (Kind.MAPPED, Kind.MAPPED | Flag.UNWRITTEN, Kind.MAPPED | Flag.SHARED, Kind.ZERO)
HOLES = (Kind.ZERO, Kind.UNALLOCATED, Kind.DELALLOC)
Byte = tuple[int, int]
NOTHING: Byte = (NOWHERE, Kind.UNMAPPED)


@st.composite
def range_maps(draw: st.DrawFn, source: str = "a", target: str = "b", is_one_to_one: bool = False) -> RangeMap:
    edges = sorted(draw(st.sets(st.integers(0, SIZE), min_size=2, max_size=12)))
    used = 0
    starts, lengths, targets, kinds = [], [], [], []
    for begin, end in itertools.pairwise(edges):
        sort = draw(st.sampled_from(["linear", "linear", "hole", "gap"]))
        if sort == "gap":
            continue
        place = used if is_one_to_one else draw(st.integers(0, SIZE))
        starts.append(begin)
        lengths.append(end - begin)
        targets.append(place if sort == "linear" else NOWHERE)
        kinds.append(int(draw(st.sampled_from(LINEAR if sort == "linear" else HOLES))))
        used += end - begin + draw(st.integers(0, 2))
    return RangeMap.of(source, target, starts, lengths, targets, kinds)


def bytes_of(ranges: RangeMap) -> dict[int, Byte]:
    model: dict[int, Byte] = {}
    for start, length, target, _, kind in zip(*(column.tolist() for column in ranges.rows), strict=True):
        for i in range(length):
            model[start + i] = (NOWHERE if target < 0 else target + i, kind)
    return {byte: said for byte, said in model.items() if said != NOTHING}


def composed(upper: dict[int, Byte], lower: dict[int, Byte]) -> dict[int, Byte]:
    model = {}
    for byte, (target, kind) in upper.items():
        if target == NOWHERE:
            model[byte] = (target, kind)
            continue
        below = lower.get(target, NOTHING)
        both = stacked(np.array([kind], np.uint8), np.array([below[1]], np.uint8))
        model[byte] = (below[0], int(both[0]))
    return {byte: said for byte, said in model.items() if said != NOTHING}


@given(range_maps())
def test_coalesce_says_the_same_in_the_fewest_ranges(ranges: RangeMap) -> None:
    joined = ranges.coalesce()
    assert bytes_of(joined) == bytes_of(ranges)
    assert len(joined) <= len(ranges)
    assert joined.coalesce().rows.is_same(joined.rows)
    assert ranges.is_same(joined)


@given(range_maps(), st.integers(0, SIZE), st.integers(0, SIZE))
def test_slice_keeps_what_is_inside(ranges: RangeMap, start: int, end: int) -> None:
    inside = {byte: said for byte, said in bytes_of(ranges).items() if start <= byte < end}
    assert bytes_of(ranges.slice(start, end)) == inside


@given(range_maps(), st.integers(0, SIZE + 4))
def test_fill_leaves_no_gap(ranges: RangeMap, end: int) -> None:
    filled = ranges.fill(end, Kind.UNALLOCATED)
    model = bytes_of(ranges)
    assert bytes_of(filled) == {byte: model.get(byte, (NOWHERE, Kind.UNALLOCATED)) for byte in range(end)}


@given(range_maps(), st.lists(st.tuples(st.integers(0, SIZE + 4), st.integers(0, SIZE)), max_size=6))
def test_lookup_divides_each_request_without_loss(ranges: RangeMap, requests: list[tuple[int, int]]) -> None:
    offsets, lengths = [r[0] for r in requests], [r[1] for r in requests]
    pieces = ranges.lookup(offsets, lengths)
    model = bytes_of(ranges)
    asked = [(i, offset + byte) for i, (offset, length) in enumerate(requests) for byte in range(length)]
    columns = (pieces.request, pieces.start, pieces.length, pieces.target, pieces.kind)
    answered = {}
    for request, start, length, target, kind in zip(*(c.tolist() for c in columns), strict=True):
        for i in range(length):
            answered[request, start + i] = (NOWHERE if target < 0 else target + i, kind)
    assert list(answered) == asked
    assert all(said == model.get(byte, NOTHING) for (_, byte), said in answered.items())


@given(range_maps("a", "b"), range_maps("b", "c"))
def test_compose_is_one_lookup_after_the_other(upper: RangeMap, lower: RangeMap) -> None:
    both = compose(upper, lower)
    assert (both.source_space, both.target_space) == ("a", "c")
    assert bytes_of(both) == composed(bytes_of(upper), bytes_of(lower))


@given(range_maps("a", "b"), range_maps("b", "c"), range_maps("c", "d"))
def test_compose_is_associative(first: RangeMap, second: RangeMap, third: RangeMap) -> None:
    left = compose(compose(first, second), third)
    right = compose(first, compose(second, third))
    places = [{b: s for b, s in bytes_of(m).items() if s[0] >= 0} for m in (left, right)]
    assert places[0] == places[1]


@given(range_maps(is_one_to_one=True))
def test_invert_twice_gives_what_has_an_address(ranges: RangeMap) -> None:
    addressed = {byte: said for byte, said in bytes_of(ranges).items() if said[0] >= 0}
    assert bytes_of(ranges.invert().invert()) == addressed


@given(range_maps())
def test_invert_flags_an_address_that_several_claim(ranges: RangeMap) -> None:
    forward = bytes_of(ranges)
    claims: dict[int, list[int]] = {}
    for byte, (target, _) in forward.items():
        if target >= 0:
            claims.setdefault(target, []).append(byte)
    backward = bytes_of(ranges.invert())
    assert set(backward) == set(claims)
    for target, (source, kind) in backward.items():
        assert source in claims[target]
        was_shared = bool(forward[source][1] & Flag.SHARED)
        assert bool(kind & Flag.SHARED) == (was_shared or len(claims[target]) > 1)


@given(range_maps(), range_maps())
def test_difference_is_where_two_maps_disagree(older: RangeMap, newer: RangeMap) -> None:
    one, two = bytes_of(older), bytes_of(newer)
    starts, lengths = difference(older, newer)
    found = {s + i for s, n in zip(starts.tolist(), lengths.tolist(), strict=True) for i in range(n)}
    assert found == {byte for byte in range(SIZE) if one.get(byte, NOTHING) != two.get(byte, NOTHING)}


def test_compressed_range_keeps_its_address_however_it_is_cut() -> None:
    ranges = RangeMap.of("a", "b", 0, 65536, 1001, Kind.COMPRESSED, 700)
    pieces = ranges.lookup([4096], [512])
    assert (pieces.target.tolist(), pieces.target_length.tolist()) == ([1001], [700])
    assert ranges.invert().lookup([1200], [1]).target_length.tolist() == [65536]


def test_compressed_range_split_below_is_said_to_be_partial() -> None:
    upper = RangeMap.of("a", "b", [0, 100], [100, 100], [10, 40], Kind.COMPRESSED, [20, 20])
    lower = RangeMap.of("b", "c", [0, 50], [50, 50], [1000, 3000])
    both = compose(upper, lower)
    assert both.target.tolist() == [1010, 1040]
    assert both.target_length.tolist() == [20, 10]
    assert both.kind.tolist() == [Kind.COMPRESSED, Kind.COMPRESSED | Flag.PARTIAL]


def test_flags_of_both_maps_are_kept() -> None:
    upper = RangeMap.of("a", "b", 0, 8, 0, Kind.MAPPED | Flag.ENCRYPTED)
    lower = RangeMap.of("b", "c", 0, 8, 64, Kind.MAPPED | Flag.SHARED | Flag.UNWRITTEN)
    assert name_of(int(compose(upper, lower).kind[0])) == "MAPPED|UNWRITTEN|SHARED|ENCRYPTED"


@pytest.mark.parametrize(
    ("start", "length", "target", "kind"),
    [
        ([0, 4], [5, 1], [0, 9], Kind.MAPPED),
        ([-1], [5], [0], Kind.MAPPED),
        ([0], [0], [0], Kind.MAPPED),
        ([1], [LAST], [0], Kind.MAPPED),
        ([0], [8], [LAST - 4], Kind.MAPPED),
        ([0], [8], [-2], Kind.MAPPED),
        ([0], [8], [0], 0x0F),
    ],
)
def test_impossible_ranges_are_refused(start: list[int], length: list[int], target: list[int], kind: int) -> None:
    with pytest.raises(MapError, match="map of a to b, row"):
        RangeMap.of("a", "b", start, length, target, kind)


def test_hostile_requests_do_not_overflow() -> None:
    ranges = RangeMap.of("a", "b", 0, 8, 0)
    pieces = ranges.lookup([LAST - 1, 4, 5, -4], [LAST, LAST, -7, 6])
    assert pieces.request.tolist() == [0, 1, 1, 3, 3]
    assert int((pieces.start + pieces.length).max()) == LAST


def test_maps_of_other_spaces_do_not_compose() -> None:
    with pytest.raises(MapError, match="cannot put"):
        compose(RangeMap.of("a", "b", 0, 8, 0), RangeMap.of("c", "d", 0, 8, 0))


def test_rows_come_in_any_order() -> None:
    ranges = RangeMap.of("a", "b", [8, 0], [8, 8], [0, 100], [Kind.MAPPED, Kind.ZERO])
    start, length, target = (np.array(column) for column in ([0, 8], [8, 8], [100, 0]))
    assert ranges.rows.is_same(Rows(start, length, target, length, ranges.kind))
    assert ranges.kind.tolist() == [Kind.ZERO, Kind.MAPPED]


def test_kinds_and_flags_share_no_bit() -> None:
    assert all(kind & FLAG_MASK == 0 for kind in Kind)
    assert sum(Flag) == FLAG_MASK
