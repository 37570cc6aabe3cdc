"""Maps in time, and the table that a recording stores them in."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.errors import MapError, RecordingError
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Kind
from vio.mappers.store import COLUMNS, SCHEMA, from_table, to_table
from vio.mappers.timed import FOREVER_NS, MapSet, TimedMap


def a_map(source: str = "guest:d", target: str = "file:1:2:3", shift: int = 0) -> RangeMap:
    return RangeMap.of(source, target, [0, 100], [50, 20], [shift, NOWHERE], [Kind.MAPPED, Kind.ZERO])


def test_at_gives_the_latest_map_that_holds() -> None:
    early, late = TimedMap(a_map(), 10), TimedMap(a_map(shift=7), 20, 30)
    maps = MapSet((early, late))
    assert maps.at("guest:d", 9) == []
    assert maps.at("guest:d", 15) == [early.map]
    assert maps.at("guest:d", 20) == [late.map]
    assert maps.at("guest:d", 30) == [early.map]
    assert maps.at("dev:1:0", 15) == []


def test_at_gives_one_map_for_each_target() -> None:
    maps = MapSet((TimedMap(a_map(), 0), TimedMap(a_map(target="file:1:2:4"), 0)))
    assert [ranges.target_space for ranges in maps.at("guest:d", 5)] == ["file:1:2:3", "file:1:2:4"]


def test_renew_ends_a_map_that_changed_and_keeps_one_that_did_not() -> None:
    same, changed = TimedMap(a_map("x", "y"), 0), TimedMap(a_map(), 0)
    renewed = MapSet((same, changed)).renew([TimedMap(a_map("x", "y"), 9), TimedMap(a_map(shift=7), 9)])
    spans = [(timed.map.source_space, timed.valid_from_ns, timed.valid_to_ns) for timed in renewed]
    assert spans == [("x", 0, FOREVER_NS), ("guest:d", 0, 9), ("guest:d", 9, FOREVER_NS)]


def test_reach_composes_to_every_space_below() -> None:
    lower = RangeMap.of("file:1:2:3", "dev:8:0", 0, 1000, 4096)
    maps = MapSet((TimedMap(a_map(), 0), TimedMap(lower, 0)))
    assert [ranges.target_space for ranges in maps.reach("guest:d", 0)] == ["file:1:2:3", "dev:8:0"]
    lowest = maps.lowest("guest:d", 0)
    assert [ranges.target.tolist() for ranges in lowest] == [[4096, NOWHERE]]


def test_reach_refuses_a_circle() -> None:
    maps = MapSet((TimedMap(a_map("x", "y"), 0), TimedMap(a_map("y", "x"), 0)))
    with pytest.raises(MapError, match="circle"):
        maps.reach("x", 0)


def test_timed_maps_compose_for_the_time_that_both_hold() -> None:
    upper, lower = TimedMap(a_map("x", "y"), 0, 20), TimedMap(a_map("y", "z"), 10)
    both = upper.compose(lower)
    assert both is not None
    assert (both.valid_from_ns, both.valid_to_ns) == (10, 20)
    assert upper.compose(TimedMap(a_map("y", "z"), 20)) is None


def test_a_map_cannot_end_before_it_begins() -> None:
    with pytest.raises(MapError, match="ends before"):
        TimedMap(a_map(), 5, 4)


def test_maps_survive_parquet(tmp_path: Path) -> None:
    packed = RangeMap.of("guest:d", "file:9:9:9", 0, 65536, 1001, Kind.COMPRESSED, 700)
    maps = MapSet((TimedMap(a_map(), 10, 20), TimedMap(a_map("x", "y"), 5), TimedMap(packed, 7)))
    pq.write_table(to_table(maps), tmp_path / "maps.parquet")
    back = from_table(pq.read_table(tmp_path / "maps.parquet"))
    assert len(back) == len(maps)
    for one, two in zip(maps, back, strict=True):
        assert one.map.is_same(two.map)
        assert (one.valid_from_ns, one.valid_to_ns) == (two.valid_from_ns, two.valid_to_ns)


def test_no_maps_are_an_empty_table() -> None:
    assert to_table(MapSet()).schema == SCHEMA
    assert len(from_table(to_table(MapSet()))) == 0


def test_every_column_says_what_it_means() -> None:
    assert [field.name for field in SCHEMA] == [column.name for column in COLUMNS]
    assert all(column.meaning.endswith(".") for column in COLUMNS)


def test_tables_that_are_not_maps_are_refused() -> None:
    with pytest.raises(RecordingError, match="lack the columns"):
        from_table(pa.table({"map_id": [0]}))
    nulls = to_table(MapSet((TimedMap(a_map(), 0),))).to_pydict() | {"start": [None, 1]}
    with pytest.raises(RecordingError, match="start"):
        from_table(pa.Table.from_pydict(nulls, schema=SCHEMA))
