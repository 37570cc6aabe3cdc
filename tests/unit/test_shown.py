"""Maps with what a run shows put over them, and how that is stored."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.errors import MapError, RecordingError
from vio.mappers.compose import overlaid
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Kind
from vio.mappers.shown import SCHEMA, ShownMap, shown_from, with_shown
from vio.mappers.timed import FOREVER_NS, MapSet, TimedMap

GUEST, OVERLAY, BACKING = "guest:vda", "file:1:0:2", "file:1:0:3"
SIZE = 40


def shown(*rows: tuple[int, int, int, int, int], target: str = OVERLAY) -> ShownMap:
    return ShownMap(GUEST, target, *np.array(rows, dtype=np.int64).reshape(-1, 5).T)


def places(ranges: RangeMap) -> list[tuple[int, int, int, str]]:
    rows = zip(ranges.start.tolist(), ranges.length.tolist(), ranges.target.tolist(), ranges.kind.tolist(), strict=True)
    return [(start, length, target, Kind(kind).name) for start, length, target, kind in rows]


def test_what_was_shown_wins_from_its_time_on() -> None:
    taken = RangeMap.of(GUEST, OVERLAY, [0, 100], [100, 100], [1000, NOWHERE], [Kind.MAPPED, Kind.UNALLOCATED])
    maps = MapSet((TimedMap(taken, 10),))
    layer = [shown((150, 50, 5000, 20, FOREVER_NS), (0, 10, NOWHERE, 30, FOREVER_NS))]
    assert places(with_shown(maps, layer, 15).maps[0].map) == [(0, 100, 1000, "MAPPED"), (100, 100, -1, "UNALLOCATED")]
    assert places(with_shown(maps, layer, 30).maps[0].map) == [
        (0, 10, -1, "UNMAPPED"),
        (10, 90, 1010, "MAPPED"),
        (100, 50, -1, "UNALLOCATED"),
        (150, 50, 5000, "MAPPED"),
    ]


def test_what_is_in_the_overlay_does_not_show_through_from_a_backing_file() -> None:
    backing = RangeMap.of(GUEST, BACKING, 0, 200, 0)
    maps = MapSet((TimedMap(backing, 10), TimedMap(RangeMap.of(BACKING, "dev:8:0", 0, 200, 0), 10)))
    found = with_shown(maps, [shown((50, 50, 5000, 20, FOREVER_NS))], 20)
    by_target = {one.map.target_space: places(one.map) for one in found}
    assert by_target[BACKING] == [(0, 50, 0, "MAPPED"), (50, 50, -1, "UNMAPPED"), (100, 100, 100, "MAPPED")]
    assert by_target[OVERLAY] == [(50, 50, 5000, "MAPPED")]
    assert by_target["dev:8:0"] == [(0, 200, 0, "MAPPED")]


def test_maps_of_other_spaces_are_not_put_over_each_other() -> None:
    with pytest.raises(MapError, match="other spaces"):
        overlaid(RangeMap.of(GUEST, OVERLAY, 0, 1, 0), RangeMap.of(GUEST, BACKING, 0, 1, 0))


@st.composite
def any_map(draw: st.DrawFn) -> RangeMap:
    edges = sorted(draw(st.sets(st.integers(0, SIZE), max_size=8)))
    rows = [(one, two) for one, two in zip(edges[::2], edges[1::2], strict=False)]
    kinds = [draw(st.sampled_from([Kind.MAPPED, Kind.ZERO, Kind.UNMAPPED])) for _ in rows]
    targets = [draw(st.sampled_from([0, 64, 128])) if kind is Kind.MAPPED else NOWHERE for kind in kinds]
    return RangeMap.of(GUEST, OVERLAY, [one for one, _ in rows], [two - one for one, two in rows], targets, kinds)


@given(any_map(), any_map())
def test_byte_by_byte_the_upper_map_holds_where_it_has_a_range(lower: RangeMap, upper: RangeMap) -> None:
    both = overlaid(lower, upper)
    for byte in range(SIZE):
        has = bool(((upper.start <= byte) & (byte < upper.end)).any())
        target, kind = (upper if has else lower).locate([byte])
        found = both.locate([byte])
        assert (found[0][0], found[1][0]) == (target[0], kind[0])


def test_the_rows_are_stored_and_read_back(tmp_path: pytest.TempPathFactory) -> None:
    layer = shown((0, 10, 640, 5, 9), (10, 4, NOWHERE, 5, FOREVER_NS))
    file = f"{tmp_path}/shown.parquet"
    pq.write_table(pa.concat_tables([layer.table(), shown((0, 1, 0, 1, 2), target=BACKING).table()]), file)
    back = {one.target_space: one for one in shown_from(pq.read_table(file))}
    assert back[OVERLAY].table().equals(layer.table())
    assert back[BACKING].to_ns.tolist() == [2]
    assert layer.table().schema == SCHEMA
    assert layer.table()["kind"].to_pylist() == [Kind.MAPPED, Kind.UNMAPPED]


def test_another_table_is_refused() -> None:
    with pytest.raises(RecordingError, match="lacks columns"):
        shown_from(pa.table({"start": [1]}))
