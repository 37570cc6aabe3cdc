"""From device ranges back to image files, by maps of the start and of the stop."""

import numpy as np

from vio.mappers.extent import RangeMap
from vio.mappers.kind import Flag, Kind
from vio.mappers.timed import MapSet, TimedMap
from vio.reporter.places import DISAGREE, NO_IMAGE, Places

START, STOP = 1_000, 2_000
DISK, PART, LOOP = 259 << 20, 259 << 20 | 1, 7 << 20


def extents(
    *rows: tuple[int, int, int], to: str = "dev:259:0", kind: int = Kind.MAPPED, of: str = "file:a"
) -> RangeMap:
    start, length, target = (np.array(column) for column in zip(*rows, strict=True))
    return RangeMap.of(of, to, start, length, target, kind)


def found(places: Places, device: int, start: int, end: int) -> list[tuple[int, int, int, int]]:
    pieces = places.find(device, np.array([start]), np.array([end]))
    columns = (pieces.start, pieces.end, pieces.image, pieces.offset)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_range_is_taken_back_piece_by_piece() -> None:
    maps = MapSet((TimedMap(extents((0, 100, 5000), (100, 100, 5100), (200, 50, 9000)), START),))
    places = Places.of(maps, ["file:a"])

    assert places.devices == [DISK]
    assert places.images == [0]
    assert found(places, DISK, 4990, 5150) == [(4990, 5000, NO_IMAGE, 0), (5000, 5150, 0, 0)]
    assert found(places, DISK, 9010, 9020) == [(9010, 9020, 0, 210)]


def test_extents_that_came_during_the_recording_are_known_from_its_stop() -> None:
    early = TimedMap(extents((0, 100, -1), kind=Kind.DELALLOC), START, STOP)
    places = Places.of(MapSet((early, TimedMap(extents((0, 100, 5000)), STOP))), ["file:a"])

    assert found(places, DISK, 5000, 5100) == [(5000, 5100, 0, 0)]


def test_of_an_image_without_any_allocated_extent_nothing_is_found() -> None:
    delayed = extents((0, 100, -1), kind=Kind.DELALLOC)
    places = Places.of(MapSet((TimedMap(delayed, START), TimedMap(delayed, STOP))), ["file:a"])

    assert places.devices == [DISK]
    assert found(places, DISK, 5000, 5100) == [(5000, 5100, NO_IMAGE, 0)]


def test_of_what_start_and_stop_say_differently_nothing_is_said() -> None:
    early, late = extents((0, 100, 5000)), extents((0, 50, 5000), (500, 50, 5050))
    places = Places.of(MapSet((TimedMap(early, START, STOP), TimedMap(late, STOP))), ["file:a"])

    assert found(places, DISK, 5000, 5100) == [(5000, 5050, 0, 0), (5050, 5100, DISAGREE, 0)]


def test_a_partition_and_its_disk_are_both_known_and_what_is_below_a_loop_device_is_not() -> None:
    maps = MapSet(
        (
            TimedMap(extents((0, 100, 5000), to="dev:259:1"), START),
            TimedMap(extents((0, 10_000, 1_000_000), of="dev:259:1"), START),
            TimedMap(extents((0, 100, 700), to="dev:7:0", of="file:b"), START),
            TimedMap(extents((0, 10_000, 0), to="file:c", of="dev:7:0"), START),
            TimedMap(extents((0, 10_000, 1_700_000), of="file:c"), START),
        )
    )
    places = Places.of(maps, ["file:a", "file:b"])

    assert sorted(places.devices) == sorted([DISK, PART, LOOP])
    assert found(places, PART, 5000, 5010) == [(5000, 5010, 0, 0)]
    assert found(places, DISK, 1_005_000, 1_005_010) == [(1_005_000, 1_005_010, 0, 0)]
    assert found(places, LOOP, 710, 720) == [(710, 720, 1, 10)]
    assert found(places, DISK, 1_700_700, 1_700_800) == [(1_700_700, 1_700_800, NO_IMAGE, 0)]


def test_an_image_that_is_a_device_lies_on_itself() -> None:
    places = Places.of(MapSet(()), ["", "dev:259:0"])

    assert places.images == [1]
    assert found(places, DISK, 4096, 8192) == [(4096, 8192, 1, 4096)]


def test_shared_and_encoded_extents_tell_nothing() -> None:
    shared = extents((0, 100, 5000), kind=Kind.MAPPED | Flag.SHARED)
    encoded = RangeMap.of("file:b", "dev:259:0", 0, 100, 7000, Kind.ENCODED)
    places = Places.of(MapSet((TimedMap(shared, START), TimedMap(encoded, START))), ["file:a", "file:b"])

    assert places.images == []
