"""Addresses followed down and up: against composed maps, and against a walk byte by byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vio.mappers.address import Trail, trace, trace_up
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Flag, Kind
from vio.mappers.timed import MapSet, TimedMap


def a_map(source: str, target: str, rows: list[tuple[int, int, int]], kind: int = Kind.MAPPED) -> RangeMap:
    start, length, address = (np.array([row[n] for row in rows], dtype=np.int64) for n in range(3))
    return RangeMap.of(source, target, start, length, address, kind)


def a_set(*maps: RangeMap | tuple[RangeMap, int]) -> MapSet:
    pairs = [one if isinstance(one, tuple) else (one, 0) for one in maps]
    return MapSet(tuple(TimedMap(ranges, 0, copy=copy) for ranges, copy in pairs))


def rows(trail: Trail) -> list[tuple[int, int, dict[tuple[str, int], int]]]:
    return [
        (
            int(trail.start[row]),
            int(trail.length[row]),
            {place: int(column[row]) for place, column in trail.places.items() if column[row] >= 0},
        )
        for row in range(len(trail))
    ]


CHAIN = a_set(
    a_map("guest", "file", [(0, 100, 1000), (100, 100, 500)]),
    a_map("file", "dev", [(450, 100, 7000), (550, 1000, 20)]),
    a_map("dev", "disk", [(0, 10_000, 64)]),
)


def test_a_range_is_cut_where_any_map_cuts_it() -> None:
    assert rows(trace(CHAIN, 0, "guest", 90, 100)) == [
        (90, 10, {("file", 0): 1090, ("dev", 0): 560, ("disk", 0): 624}),
        (100, 50, {("file", 0): 500, ("dev", 0): 7050, ("disk", 0): 7114}),
        (150, 40, {("file", 0): 550, ("dev", 0): 20, ("disk", 0): 84}),
    ]


def test_the_way_up_is_the_way_down() -> None:
    up = rows(trace_up(CHAIN, 0, "guest", "disk", 80, 8))
    assert up == [
        (-1, 4, {("disk", 0): 80}),
        (150, 4, {("file", 0): 550, ("dev", 0): 20, ("disk", 0): 84}),
    ]


def test_what_the_overlay_does_not_hold_is_in_the_backing_file() -> None:
    overlay = RangeMap.of(
        "guest", "top", [0, 10, 20], [10, 10, 10], [0, -1, -1], [Kind.MAPPED, Kind.UNALLOCATED, Kind.ZERO]
    )
    base = a_map("guest", "base", [(10, 10, 300)])
    trail = trace(a_set(overlay, base), 0, "guest", 0, 30)
    assert rows(trail) == [(0, 10, {("top", 0): 0}), (10, 10, {("base", 0): 300}), (20, 10, {})]
    assert trail.kind.tolist() == [Kind.MAPPED, Kind.MAPPED, Kind.ZERO]


def test_copies_stand_beside_each_other() -> None:
    mirror = a_set(
        a_map("file", "a", [(0, 100, 10)]),
        (a_map("file", "a", [(0, 100, 900)]), 1),
        (a_map("file", "b", [(0, 50, 5)]), 1),
    )
    assert rows(trace(mirror, 0, "file", 40, 20)) == [
        (40, 10, {("a", 0): 50, ("a", 1): 940, ("b", 1): 45}),
        (50, 10, {("a", 0): 60, ("a", 1): 950}),
    ]


def test_compressed_data_is_one_piece_with_one_address() -> None:
    packed = RangeMap.of("guest", "file", 0, 65536, 1001, Kind.COMPRESSED, 700)
    trail = trace(a_set(packed, a_map("file", "dev", [(0, 1100, 5000), (1100, 900, 9000)])), 0, "guest", 512, 4096)
    assert rows(trail) == [(512, 4096, {("file", 0): 1001, ("dev", 0): 6001})]
    assert trail.kind.tolist() == [Kind.COMPRESSED]


def test_flags_of_upper_maps_are_kept() -> None:
    maps = a_set(a_map("guest", "thin", [(0, 10, 0)], Kind.MAPPED | Flag.SHARED), a_map("thin", "disk", [(0, 10, 5)]))
    assert trace(maps, 0, "guest", 0, 10).kind.tolist() == [Kind.MAPPED | Flag.SHARED]


def test_flags_of_lower_maps_show() -> None:
    unwritten = a_map("file", "dev", [(0, 100, 0)], Kind.MAPPED | Flag.UNWRITTEN)
    assert trace(a_set(a_map("guest", "file", [(0, 10, 0)]), unwritten), 0, "guest", 0, 10).kind.tolist() == [
        Kind.MAPPED | Flag.UNWRITTEN
    ]


PIECES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 100)), max_size=6)


def laid_out(source: str, target: str, pieces: list[tuple[int, int, int]]) -> RangeMap:
    at, found = 0, []
    for length, gap, address in pieces:
        found.append((at + gap, length, address))
        at += gap + length
    return a_map(source, target, found)


def byte_by_byte(ranges: RangeMap, address: int) -> int:
    return int(ranges.locate(address)[0][0]) if address >= 0 else NOWHERE


@given(PIECES, PIECES, st.integers(0, 60), st.integers(1, 30))
def test_a_trail_says_of_each_byte_what_the_maps_say(
    upper: list[tuple[int, int, int]], lower: list[tuple[int, int, int]], start: int, length: int
) -> None:
    first, second = laid_out("guest", "file", upper), laid_out("file", "dev", lower)
    trail = trace(a_set(first, second), 0, "guest", start, length)
    assert int(trail.length.sum()) == length
    for begin, size, places in rows(trail):
        for byte in range(size):
            in_file = byte_by_byte(first, begin + byte)
            said = {place[0]: address + byte for place, address in places.items()}
            assert said.get("file", NOWHERE) == in_file
            assert said.get("dev", NOWHERE) == byte_by_byte(second, in_file)


@given(PIECES, st.lists(st.integers(0, 80), max_size=10))
def test_single_bytes_are_located_as_look_ups_say(pieces: list[tuple[int, int, int]], offsets: list[int]) -> None:
    ranges = laid_out("guest", "file", pieces)
    target, kind = ranges.locate(offsets)
    found = ranges.lookup(offsets, 1)
    assert target.tolist() == found.target.tolist()
    assert kind.tolist() == found.kind.tolist()
