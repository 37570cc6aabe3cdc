"""OCFS2 volumes as image files with files of any tree of extents: mkfs.ocfs2 makes the volume, we put in the trees."""

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.livemaps import MIB, by_debugfs, stamped
from vio.mappers.hostfs import ocfs2
from vio.mappers.kind import Flag, Kind

VOLUME_BYTES = 300 * MIB
FILE = "//heartbeat"
"""The file whose extents are replaced: there is none in a new volume but those of mkfs.ocfs2."""
SHAPES = (("4K", "64K"), ("4K", "4K"), ("2K", "32K"), ("512", "4K"))
_NODES_AT, _DATA_AT = 150 * MIB, 160 * MIB
_BLOCK_NUMBER, _NEXT_LEAF = 24, 40
"""Of an extent block."""
_MOST_BYTES = 8 * MIB
_SLOTS = 4
_SYSTEM_FILES = ("//heartbeat", "//slot_map", *(f"//journal:000{slot}" for slot in range(_SLOTS)))
_LIMIT_S = 60

Record = tuple[int, int, int, int]
"""Of a run of clusters: the first in the file, how many, the block on the disk, flags."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Files, the records and bytes compared, and the names of the files that differ."""

    files: int
    records: int
    size: int
    different: tuple[str, ...]


class _Node(NamedTuple):
    """A record of a tree, and the clusters of the file that it covers."""

    begin: int
    end: int
    record: bytes


def make_volume(path: Path, block: str = "4K", cluster: str = "64K", slots: int = 1) -> Path:
    """Make a volume in a file."""
    with path.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    words = ["mkfs.ocfs2", "-q", "-F", "-M", "local", "--fs-features=local", "-N", str(slots)]
    journal = ["-J", "size=4M"] if slots > 1 else []
    words += [*journal, "-C", cluster, "-b", block, str(path)]
    subprocess.run(words, check=True, timeout=_LIMIT_S, capture_output=True)
    return path


def plant(path: Path, depth: int, records: Sequence[Record]) -> None:
    """Give `FILE` these records as a tree of that depth, whose nodes go into free space."""
    with path.open("r+b") as file:
        fd = file.fileno()
        geometry = ocfs2.read_geometry(fd)
        number = ocfs2.find_inode(fd, geometry, FILE)
        free = iter(range(_NODES_AT // geometry.block, _DATA_AT // geometry.block))
        nodes = [
            _Node(start, start + clusters, ocfs2.LEAF.pack(start, clusters, 0, flags, block))
            for start, clusters, block, flags in records
        ]
        for level in range(depth):
            nodes = _parents(fd, nodes, level, free, geometry.block)
        room = (geometry.block - ocfs2.INODE_LIST - ocfs2.LIST.size) // ocfs2.RECORD_BYTES
        assert len(nodes) <= room
        head = ocfs2.LIST.pack(depth, room, len(nodes))
        os.pwrite(fd, head + b"".join(node.record for node in nodes), number * geometry.block + ocfs2.INODE_LIST)


def check_ocfs2(folder: Path, each: int = 4) -> Counted:
    """Compare files of so many volumes of each shape with debugfs.ocfs2: their records, and their content."""
    files = records = size = 0
    different = list[str]()
    for block, cluster in SHAPES:
        for seed in range(each):
            path = make_volume(folder / "volume", block, cluster, _SLOTS)
            name = f"{block} {cluster} {seed}"
            for file in _SYSTEM_FILES:
                found = by_reader(path, file)
                if found != by_debugfs(path, file) or not found:
                    different.append(f"{file} of {name}")
                files, records = files + 1, records + len(found)
            planted, written = _plant_random(path, seed)
            if not by_reader(path, FILE) == planted == by_debugfs(path, FILE):
                different.append(f"{FILE} of {name}: records")
            if not by_map(path) == dumped(path) == written:
                different.append(f"{FILE} of {name}: content")
            files, records, size = files + 1, records + len(planted), size + len(written)
            path.unlink()
    return Counted(files, records, size, tuple(different))


def by_reader(path: Path, what: str | int) -> list[Record]:
    """Give the records of a file, or of an inode, as vio reads them."""
    with path.open("rb") as file:
        fd = file.fileno()
        geometry = ocfs2.read_geometry(fd)
        number = what if isinstance(what, int) else ocfs2.find_inode(fd, geometry, what)
        inode = ocfs2.read_inode(fd, geometry, number)
        return [(r.start, r.clusters, r.block, r.flags) for r in ocfs2.read_records(fd, geometry, inode)]


def by_map(path: Path) -> bytes:
    """Read the content of `FILE` at the addresses that vio's map gives."""
    with path.open("rb") as file:
        ranges = ocfs2.map_ocfs2_file(file.fileno(), FILE, "file", "dev")
        content = bytearray(int(ranges.end[-1]))
        columns = (ranges.start, ranges.length, ranges.target, ranges.kind)
        for start, length, target, kind in zip(*(column.tolist() for column in columns), strict=True):
            if kind & ~Flag.SHARED == Kind.MAPPED:
                content[start : start + length] = os.pread(file.fileno(), length, target)
    return bytes(content)


def dumped(path: Path) -> bytes:
    """Read the content of `FILE` as debugfs.ocfs2 does."""
    copy = path.with_suffix(".dump")
    words = ["debugfs.ocfs2", "-n", "-R", f"dump {FILE} {copy}", str(path)]
    subprocess.run(words, check=True, timeout=_LIMIT_S, capture_output=True)
    content = copy.read_bytes()
    copy.unlink()
    return content


def _plant_random(path: Path, seed: int) -> tuple[list[Record], bytes]:
    """Plant a tree of depth 0 to 3 with stamps in its clusters; give its records, and the file's content."""
    chance = random.Random(seed)
    with path.open("r+b") as file:
        fd = file.fileno()
        geometry = ocfs2.read_geometry(fd)
        depth, per_cluster = seed % 4, geometry.cluster // geometry.block
        free = np.arange(_DATA_AT // geometry.cluster, VOLUME_BYTES // geometry.cluster - 2)[::2].tolist()
        chance.shuffle(free)
        count = min(_MOST_BYTES // geometry.cluster, (12, 150, 600, 1500)[depth])
        records, content, start = list[Record](), bytearray(), 0
        for at in free[:count]:
            # of several leaves debugfs.ocfs2 reads zeroes after a hole before the first record of one
            start += chance.randint(0, 1) if len(records) % _room(geometry.block) else 0
            clusters, flags = chance.randint(1, 2), chance.choice((0, 0, 0, ocfs2.UNWRITTEN, ocfs2.REFCOUNTED))
            records.append((start, clusters, at * per_cluster, flags))
            place, length = start * geometry.cluster, clusters * geometry.cluster
            stamp = stamped(place, length)
            os.pwrite(fd, stamp, at * geometry.cluster)
            content += bytes(place - len(content))
            content += bytes(length) if flags & ocfs2.UNWRITTEN else stamp
            start += clusters
        number = ocfs2.find_inode(fd, geometry, FILE)
        os.pwrite(fd, struct.pack("<Q", len(content)), number * geometry.block + 0x20)
    plant(path, depth, records)
    return records, bytes(content)


def _parents(fd: int, nodes: list[_Node], level: int, free: Iterator[int], block: int) -> list[_Node]:
    """Write extent blocks that hold records, and give the records that lead to them."""
    parents = list[_Node]()
    room = _room(block)
    numbers = [next(free) for _ in range(0, len(nodes), room)]
    for first in range(0, len(nodes), room):
        group = nodes[first : first + room]
        number = numbers[len(parents)]
        data = bytearray(block)
        data[:8] = ocfs2.EXTENT_MAGIC
        struct.pack_into("<Q", data, _BLOCK_NUMBER, number)
        is_last_leaf = level > 0 or len(parents) == len(numbers) - 1
        struct.pack_into("<Q", data, _NEXT_LEAF, 0 if is_last_leaf else numbers[len(parents) + 1])
        ocfs2.LIST.pack_into(data, ocfs2.EXTENT_LIST, level, room, len(group))
        content = b"".join(node.record for node in group)
        start = ocfs2.EXTENT_LIST + ocfs2.LIST.size
        data[start : start + len(content)] = content
        os.pwrite(fd, data, number * block)
        begin, end = group[0].begin, group[-1].end
        parents.append(_Node(begin, end, ocfs2.INDEX.pack(begin, end - begin, number)))
    return parents


def _room(block: int) -> int:
    """Count the records that an extent block has room for."""
    return (block - ocfs2.EXTENT_LIST - ocfs2.LIST.size) // ocfs2.RECORD_BYTES
