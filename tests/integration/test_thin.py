"""Thin pools' metadata, made by thin_restore from what we say and read back by us: pools of many shapes."""

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from lab.livethin import blocks_of_dump
from tests.integration import disks

from vio.mappers.device.dm import Segment
from vio.mappers.device.thin import map_volume, read_blocks
from vio.mappers.device.thinmeta import read_volume
from vio.mappers.kind import Flag, Kind

MIB = 1 << 20
NOW = 9
SHAPES = [(0, 128), (1, 128), (250, 128), (252, 384), (253, 1024), (5_000, 128), (70_000, 128)]


@dataclass(frozen=True)
class Pool:
    file: Path
    unit_bytes: int
    volumes: dict[int, list[tuple[int, int, int]]]
    """Blocks of each volume by its number: where in the volume, where in the pool, and its time."""


def snapshot_time(number: int) -> int:
    return number % (NOW + 1)


def make_pool(folder: Path, count: int, sectors: int) -> Pool:
    chance = random.Random(count)
    volumes, whole = {}, []
    for number in (3, 4, 70_000):
        places = sorted(chance.sample(range(4 * count + 1), count))
        datas = chance.sample(range(2 * count + 1), count)
        rows = [(place, data, chance.randint(0, NOW)) for place, data in zip(places, datas, strict=True)]
        volumes[number] = rows
        lines = [f'<single_mapping origin_block="{a}" data_block="{b}" time="{c}"/>' for a, b, c in rows]
        head = f'dev_id="{number}" mapped_blocks="{count}" transaction="0" creation_time="0"'
        whole.append(f'<device {head} snap_time="{snapshot_time(number)}">{"".join(lines)}</device>')
    text = folder / "pool.xml"
    head = f'uuid="" time="{NOW}" transaction="7" flags="0" version="2" data_block_size="{sectors}"'
    text.write_text(f'<superblock {head} nr_data_blocks="{2 * count + 1}">{"".join(whole)}</superblock>')
    file = disks.sparse_file(folder / "metadata", 32 * MIB)
    disks.run("thin_restore", "-i", text, "-o", file)
    return Pool(file, sectors * 512, volumes)


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    disks.require_tool("thin_restore")
    return make_pool(tmp_path_factory.mktemp("pool"), *request.param)


def dumped(pool: Pool, number: int) -> list[tuple[int, int, int]]:
    """Give the blocks of a volume as thin_dump has them."""
    return blocks_of_dump(disks.run("thin_dump", "--dev-id", str(number), pool.file))


def test_every_block_is_where_thin_restore_put_it_and_thin_dump_finds_it(pool: Pool) -> None:
    whole = (np.zeros(1, dtype=np.int64), np.array([1 << 50]))
    with pool.file.open("rb") as file:
        for number, rows in pool.volumes.items():
            volume = read_volume(partial(read_blocks, file.fileno()), number, pool.unit_bytes, whole)
            assert list(zip(*(column.tolist() for column in volume.blocks), strict=True)) == rows
            assert dumped(pool, number) == rows
            assert volume.snapshot_time == snapshot_time(number)


def test_ranges_are_mapped_without_reading_the_rest(pool: Pool) -> None:
    number, unit = 4, pool.unit_bytes
    known = {place: (data, time) for place, data, time in pool.volumes[number]}
    chance = random.Random(1)
    begin = np.sort(np.array(chance.sample(range(1 << 16), 20))) * (unit // 2)
    within = (begin, begin + unit // 2)
    with pool.file.open("rb") as file:
        asked: list[int] = []

        def read(numbers: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.uint8]":
            asked.extend(numbers.tolist())
            return read_blocks(file.fileno(), numbers)

        volume = read_volume(read, number, unit, within)
    assert len(asked) < 60
    segment = Segment(8 * unit, 1 << 50, "thin", ())
    ranges = map_volume("dev:253:5", "dev:253:1", segment, volume, within)
    for start in within[0].tolist():
        piece = ranges.lookup(start + 8 * unit + 512, 1)
        if start // unit in known:
            data, time = known[start // unit]
            assert piece.target.tolist() == [data * unit + start % unit + 512]
            shared = Flag.SHARED if time < snapshot_time(number) else 0
            assert piece.kind.tolist() == [Kind.MAPPED | shared]
        else:
            assert (piece.target.tolist(), piece.kind.tolist()) == ([-1], [Kind.UNALLOCATED])
    assert int((ranges.length).sum()) == int((within[1] - within[0]).sum())
