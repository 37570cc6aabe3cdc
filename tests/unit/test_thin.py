"""Hostile metadata of a thin pool, field by field; metadata that changes while it is read; tables of thin volumes."""

import struct
from collections.abc import Callable
from os import makedev

import numpy as np
import pytest
from lab.fuzzreaders import Sparse, seeds

from vio.errors import MapError
from vio.mappers.device.crc32c import Bytes, crc32c
from vio.mappers.device.dm import Segment, parse_table
from vio.mappers.device.thin import Pool, ThinVolume, map_volume, parse_pool, parse_volume, upon_origin
from vio.mappers.device.thinmeta import (
    BLOCK,
    MAGIC,
    NODE_XOR,
    SUPERBLOCK_XOR,
    TRIES,
    Blocks,
    Volume,
    read_volume,
)
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Flag, Ints, Kind

UNIT = 128 * 512
WHOLE = (np.zeros(1, dtype=np.int64), np.array([1 << 40]))
SUPER = {"blocknr": 8, "magic": 32, "version": 40, "held_root": 56, "data_blocks": 64, "mapping_root": 320,
         "details_root": 328, "data_block_size": 336, "metadata_block_size": 340, "incompat_flags": 360}  # fmt: skip
NODE = {"flags": 4, "blocknr": 8, "nr_entries": 16, "max_entries": 20, "value_size": 24, "key": 32}


class Metadata:
    """A pool's metadata in memory, of which fields are changed and checksums put right."""

    def __init__(self, shape: str) -> None:
        disk = Sparse.unpack(seeds("thin")[shape])
        self.data = bytearray(disk.sectors * 512)
        for number, sector in disk.content.items():
            self.data[number * 512 : number * 512 + 512] = sector
        self.reads = 0

    def field(self, block: int, place: int, size: int = 8) -> int:
        return int.from_bytes(self.data[block * BLOCK + place :][:size], "little")

    def change(self, block: int, place: int, value: int, size: int = 4) -> None:
        at = block * BLOCK + place
        self.data[at : at + size] = value.to_bytes(size, "little")
        self.seal(block)

    def seal(self, block: int) -> None:
        at = block * BLOCK
        xor = SUPERBLOCK_XOR if self.field(block, SUPER["magic"]) == MAGIC else NODE_XOR
        body = np.frombuffer(bytes(self.data[at + 4 : at + BLOCK]), dtype=np.uint8)
        self.data[at : at + 4] = struct.pack("<I", int(crc32c(body[None])[0]) ^ xor)

    def read(self, numbers: Ints) -> Bytes:
        self.reads += 1
        rows = [np.frombuffer(bytes(self.data[n * BLOCK :][:BLOCK]).ljust(BLOCK, b"\0"), np.uint8) for n in numbers]
        return np.stack(rows)

    @property
    def tree(self) -> int:
        """The root of volume 1's own tree."""
        top = self.field(0, SUPER["mapping_root"])
        return self.field(top, 32 + 8 * self.field(top, NODE["max_entries"], 4))


def rows_of(metadata: Metadata, volume: int = 1) -> list[tuple[int, int, int]]:
    blocks = read_volume(metadata.read, volume, UNIT, WHOLE).blocks
    return list(zip(*(column.tolist() for column in blocks), strict=True))


def test_checksum_is_crc32c() -> None:
    text = np.frombuffer(b"123456789", dtype=np.uint8)
    assert int(crc32c(np.stack([text, text]))[1]) ^ 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize(("shape", "count"), [("plain", 9), ("deep", 700)])
def test_both_volumes_of_the_seeds_are_read(shape: str, count: int) -> None:
    expected = [(2 * n, n, n % 2) for n in range(count)]
    assert rows_of(Metadata(shape)) == expected
    assert rows_of(Metadata(shape), 2) == expected


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("magic", 5, "magic"),
        ("blocknr", 1, "blocknr"),
        ("version", 3, "version"),
        ("incompat_flags", 4, "incompat_flags: 0x4"),
        ("data_block_size", 0, "data_block_size"),
        ("data_block_size", 100, "data_block_size"),
        ("data_block_size", 256, "data_block_size: 131072 bytes, where the pool's"),
        ("metadata_block_size", 16, "metadata_block_size"),
        ("mapping_root", 0, "csum"),
        ("mapping_root", 255, "csum"),
        ("mapping_root", 1 << 31, "blocknr"),
        ("details_root", 1 << 31, "blocknr"),
        ("data_blocks", 3, "data block: 8"),
    ],
)
def test_a_superblock_that_cannot_be_believed_is_refused_by_field(field: str, value: int, why: str) -> None:
    metadata = Metadata("plain")
    metadata.change(0, SUPER[field], value)
    with pytest.raises(MapError, match=f"dm-thin {why}"):
        rows_of(metadata)


def test_a_pool_too_large_to_be_addressed_is_refused() -> None:
    metadata = Metadata("plain")
    metadata.change(0, SUPER["data_blocks"], 1 << 60, 8)
    with pytest.raises(MapError, match="data_space_map_root"):
        rows_of(metadata)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("flags", 0, "flags"),
        ("flags", 3, "flags"),
        ("flags", 1, "blocknr"),
        ("blocknr", 3, "blocknr"),
        ("nr_entries", 253, "nr_entries"),
        ("max_entries", 255, "max_entries"),
        ("max_entries", 0xFFFFFFFF, "max_entries"),
        ("value_size", 16, "value_size"),
        ("key", 9, "keys"),
    ],
)
def test_a_node_that_cannot_be_believed_is_refused_by_field(field: str, value: int, why: str) -> None:
    metadata = Metadata("plain")
    metadata.change(metadata.tree, NODE[field], value)
    with pytest.raises(MapError, match=f"dm-thin {why}"):
        rows_of(metadata)


def test_a_changed_byte_is_seen_by_its_checksum() -> None:
    for block in (0, Metadata("plain").tree):
        metadata = Metadata("plain")
        metadata.data[block * BLOCK + 700] ^= 1
        with pytest.raises(MapError, match="dm-thin csum"):
            rows_of(metadata)


def test_a_tree_that_contains_itself_ends() -> None:
    metadata = Metadata("deep")
    root = metadata.tree
    pointers = 32 + 8 * metadata.field(root, NODE["max_entries"], 4)
    metadata.change(root, NODE["nr_entries"], 1)
    metadata.change(root, pointers, root, 8)
    with pytest.raises(MapError, match="more than 10 levels"):
        rows_of(metadata)
    assert metadata.reads < 20
    metadata = Metadata("deep")
    metadata.change(root, pointers + 8, metadata.field(root, pointers), 8)
    with pytest.raises(MapError, match="twice to one block"):
        rows_of(metadata)


def test_a_volume_that_the_pool_has_not_is_refused() -> None:
    with pytest.raises(MapError, match="no volume 5"):
        rows_of(Metadata("plain"), 5)


def changing(metadata: Metadata, at: Callable[[int], bool]) -> Callable[[Ints], Bytes]:
    """Commit a transaction before each reading of the superblock whose number is asked for."""
    seen = 0

    def read(numbers: Ints) -> Bytes:
        nonlocal seen
        if numbers.tolist() == [0]:
            if at(seen):
                metadata.change(0, 44, seen + 5)
            seen += 1
        return metadata.read(numbers)

    return read


def test_metadata_that_changes_once_is_read_again() -> None:
    metadata = Metadata("plain")
    found = read_volume(changing(metadata, lambda seen: seen == 1), 1, UNIT, WHOLE)
    assert (len(found.blocks.number), found.is_held) == (9, False)


def test_metadata_that_never_rests_is_refused_or_read_from_its_snapshot() -> None:
    metadata = Metadata("plain")
    with pytest.raises(MapError, match=f"each of {TRIES} readings.*reserve_metadata_snap"):
        read_volume(changing(metadata, lambda _: True), 1, UNIT, WHOLE)
    # the copy that the kernel makes: without the roots of the space maps
    held = len(metadata.data) // BLOCK - 1
    metadata.data[held * BLOCK :] = metadata.data[:BLOCK]
    metadata.data[held * BLOCK + 64 : held * BLOCK + 320] = bytes(256)
    metadata.change(held, SUPER["blocknr"], held, 8)
    metadata.change(0, SUPER["held_root"], held, 8)
    found = read_volume(changing(metadata, lambda _: True), 1, UNIT, WHOLE)
    assert (len(found.blocks.number), found.is_held) == (9, True)
    metadata.change(0, SUPER["held_root"], metadata.tree, 8)
    with pytest.raises(MapError, match="magic"):
        read_volume(changing(metadata, lambda _: True), 1, UNIT, WHOLE)
    metadata.change(0, SUPER["held_root"], 1 << 50, 8)
    with pytest.raises(MapError, match="held_root"):
        read_volume(changing(metadata, lambda _: True), 1, UNIT, WHOLE)


def test_tables_of_a_pool_and_a_volume() -> None:
    (thin,) = parse_table("0 2048 thin 253:2 1")
    assert parse_volume(thin) == ThinVolume(makedev(253, 2), 1)
    (upon,) = parse_table("0 2048 thin 253:2 1 8:16")
    assert parse_volume(upon) == ThinVolume(makedev(253, 2), 1, makedev(8, 16))
    assert parse_pool(parse_table("0 4096 thin-pool 253:0 253:1 128 0 1 skip_block_zeroing")) == Pool(
        makedev(253, 0), makedev(253, 1), UNIT
    )
    for table in (
        "0 8 thin 253:2",
        "0 8 thin pool 1",
        "0 8 thin 253:2 one",
        "0 8 thin 253:2 16777216",
        "0 8 thin 253:2 1 2",
    ):
        with pytest.raises(MapError, match="no sense"):
            parse_volume(parse_table(table)[0])
    for table in ("0 8 linear 8:0 0", "", "0 8 thin-pool 8:0 8:16 128 0\n8 8 thin-pool 8:0 8:16 128 0"):
        with pytest.raises(MapError, match="pool is none"):
            parse_pool(parse_table(table))
    with pytest.raises(MapError, match="no sense"):
        parse_pool(parse_table("0 8 thin-pool 8:0 8:16"))


def column(*numbers: int) -> Ints:
    return np.array(numbers, dtype=np.int64)


def told(ranges: RangeMap) -> list[tuple[int, int, int, int]]:
    rows = ranges.rows
    columns = (rows.start, rows.length, rows.target, rows.kind)
    return list(zip(*((one // UNIT if one.dtype == np.int64 else one).tolist() for one in columns), strict=True))


def test_what_a_volume_lacks_is_a_hole_or_its_origins() -> None:
    volume = Volume(UNIT, Blocks(column(1, 2, 5), column(7, 8, 0), column(0, 0, 3)), 2)
    segment = Segment(0, 8 * UNIT, "thin", ())
    within = (column(0), column(8 * UNIT))
    shared = Kind.MAPPED | Flag.SHARED
    ranges = map_volume("dev:253:4", "dev:253:1", segment, volume, within)
    holes = [(0, 1), (3, 2), (6, 2)]
    assert [row for row in told(ranges) if row[3] == Kind.UNALLOCATED] == [(*one, -1, 3) for one in holes]
    assert [row for row in told(ranges) if row[3] != Kind.UNALLOCATED] == [(1, 2, 7, shared), (5, 1, 0, Kind.MAPPED)]
    (upper, _), (below, _) = upon_origin(ranges, segment, "dev:8:16", 7 * UNIT)
    assert told(below) == [(0, 1, 0, shared), (3, 2, 3, shared), (6, 1, 6, shared)]
    assert told(upper) == [(1, 2, 7, shared), (5, 1, 0, Kind.MAPPED), (7, 1, -1, Kind.UNALLOCATED)]
