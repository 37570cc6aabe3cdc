"""What is fuzzed: each reader of untrusted bytes as a function of bytes, and seeds made by real tools.

A disk is bytes as `Sparse`: sectors that hold something, with their numbers; so a fuzzer changes metadata, not zeroes.
"""

import gzip
import os
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio.errors import VioError
from vio.mappers.device.crc32c import Bytes, crc32c
from vio.mappers.device.dm import map_table, parse_table
from vio.mappers.device.thin import read_blocks
from vio.mappers.device.thinmeta import MAGIC, NODE_XOR, SUPERBLOCK_XOR, read_volume
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.ext4 import ext4_areas, walk_ext4
from vio.mappers.guestfs.lvm import PhysicalVolume, logical_volumes, read_physical_volume
from vio.mappers.guestfs.ntfs import walk_ntfs
from vio.mappers.guestfs.partition import read_partitions
from vio.mappers.guestfs.xfs import walk_xfs, xfs_areas
from vio.mappers.hostfs.ocfs2 import find_inode, map_inode, read_geometry, read_inode
from vio.mappers.kind import Ints
from vio.mappers.qcow2.areas import metadata_areas
from vio.mappers.qcow2.header import read_header
from vio.mappers.qcow2.walk import map_qcow2

SECTOR = 512
MAX_SECTORS = 1 << 22
SEEDS = Path(__file__).resolve().parent.parent / "tests" / "fuzz" / "seeds"
_RECORD = struct.Struct("<I512s")
_MAGIC_WORD, _UNIT_PLACE = 8, 336
"""Of a superblock of thin metadata."""
Reader = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Sparse:
    """A disk of `sectors` sectors, those that are not zero by number."""

    sectors: int
    content: dict[int, bytes]

    @classmethod
    def of(cls, path: Path) -> "Sparse":
        """Read a disk's sectors that are not zero."""
        found, number = dict[int, bytes](), 0
        with path.open("rb") as file:
            while data := file.read(SECTOR):
                if data.strip(b"\0"):
                    found[number] = data.ljust(SECTOR, b"\0")
                number += 1
        return cls(number, found)

    @classmethod
    def unpack(cls, data: bytes) -> "Sparse":
        """Read any bytes as a disk."""
        sectors = int.from_bytes(data[:4], "little") % MAX_SECTORS
        whole = (len(data) - 4) // _RECORD.size * _RECORD.size
        return cls(sectors, dict(_RECORD.iter_unpack(data[4 : 4 + whole])) if whole > 0 else {})

    def pack(self) -> bytes:
        """Give the bytes that `unpack` reads."""
        return struct.pack("<I", self.sectors) + b"".join(_RECORD.pack(*one) for one in self.content.items())

    def open(self) -> Content:
        """Make it readable."""
        zero = bytes(SECTOR)

        def read(offset: int, end: int) -> bytes:
            first, last = offset // SECTOR, -(-end // SECTOR)
            whole = b"".join(self.content.get(number, zero) for number in range(first, last))
            return whole[offset - first * SECTOR : end - first * SECTOR]

        return Content(self.sectors * SECTOR, read)


@contextmanager
def as_file(data: bytes) -> Iterator[int]:
    """Give a descriptor of a disk in memory."""
    disk = Sparse.unpack(data)
    fd = os.memfd_create("disk")
    try:
        os.ftruncate(fd, disk.sectors * SECTOR)
        for number, sector in disk.content.items():
            if number < disk.sectors:
                os.pwrite(fd, sector, number * SECTOR)
        yield fd
    finally:
        os.close(fd)


def _qcow2(data: bytes) -> object:
    with as_file(data) as fd:
        header = read_header(fd)
        if header.size > 1 << 34:  # what a sound image of that size costs
            return None
        return map_qcow2(fd, "guest", "file", header), metadata_areas(fd, header, "file")


def _ocfs2(data: bytes) -> object:
    with as_file(data) as fd:
        geometry = read_geometry(fd)
        inode = read_inode(fd, geometry, find_inode(fd, geometry, "//journal:0000"))
        return map_inode(fd, geometry, inode, "file", "dev")


def _lvm(data: bytes) -> object:
    found = read_physical_volume(Sparse.unpack(data).open(), 0)
    return logical_volumes([found], "guest") if found else None


def _lvm_text(data: bytes) -> object:
    return logical_volumes([PhysicalVolume("AAAAAA" + "a" * 26, 0, data.decode("utf-8", "replace"))], "guest")


def _table(data: bytes) -> object:
    whole: tuple[Ints, Ints] = (np.zeros(1, dtype=np.int64), np.array([1 << 30]))
    return map_table("dev:1:1", parse_table(data.decode("utf-8", "replace")), whole)


def _thin(data: bytes) -> object:
    """Read volume 1 of a pool; checksums are put right first, as few bytes would come past them else."""
    with as_file(data) as fd:

        def read(numbers: Ints) -> Bytes:
            blocks = read_blocks(fd, numbers)
            words = blocks.view("<u4")
            is_super = words[:, _MAGIC_WORD] == MAGIC
            words[:, 0] = crc32c(blocks[:, 4:]) ^ np.where(is_super, np.uint32(SUPERBLOCK_XOR), np.uint32(NODE_XOR))
            return blocks

        unit = int.from_bytes(os.pread(fd, 4, _UNIT_PLACE), "little") * SECTOR
        return read_volume(read, 1, unit, (np.zeros(1, dtype=np.int64), np.array([1 << 40])))


def _both(*readers: Callable[[Content], object]) -> Reader:
    def read(data: bytes) -> object:
        disk = Sparse.unpack(data)
        refused = None
        for reader in readers:
            try:
                reader(disk.open())
            except VioError as error:
                refused = error
        if refused:
            raise refused
        return None

    return read


READERS: dict[str, Reader] = {
    "qcow2": _qcow2,
    "partitions": _both(read_partitions),
    "lvm": _lvm,
    "lvm-text": _lvm_text,
    "dm-table": _table,
    "thin": _thin,
    "ocfs2": _ocfs2,
    "ext4": _both(ext4_areas, walk_ext4),
    "xfs": _both(xfs_areas, walk_xfs),
    "ntfs": _both(walk_ntfs),
}


def is_refused(name: str, data: bytes) -> bool:
    """Read the bytes; tell whether they were refused. Any other error than a VioError is a fault of the reader."""
    try:
        READERS[name](data)
    except VioError:
        return True
    return False


def seeds(name: str) -> dict[str, bytes]:
    """Give the kept inputs of a reader: sound ones, and those that it once got wrong."""
    return {path.stem: gzip.decompress(path.read_bytes()) for path in sorted((SEEDS / name).glob("*.gz"))}


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """Change some bytes of a seed, to values that are apt to hurt."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(data))
        width = chance.choice([1, 2, 4, 8])
        value = chance.choice([0, (1 << 8 * width) - 1, 1 << (8 * width - 1), chance.getrandbits(8 * width)])
        data[place : place + width] = value.to_bytes(width, "little")
    return bytes(data)
