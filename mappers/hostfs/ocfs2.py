"""OCFS2 without mounting it: a file's extents from the b+tree on the disk, at any depth.

What a mounted volume has not yet written from its journal is missing: of a mounted volume FIEMAP tells, this does not.
Everything on disk is little endian; addresses are blocks, counts are clusters.
"""

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from vio.errors import MapError, UsageError
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Flag, Kind
from vio.printable import printable

SUPER_MAGIC, INODE_MAGIC, EXTENT_MAGIC = b"OCFSV2\0\0", b"INODE01\0", b"EXBLK01\0"
SUPER_BLOCK = 2
INODE_LIST, EXTENT_LIST, INLINE_DATA = 192, 48, 200
LIST = struct.Struct("<HHH10x")
LEAF, INDEX = struct.Struct("<IHBBQ"), struct.Struct("<IIQ")
RECORD_BYTES = 16
DIRECTORY_ENTRY = struct.Struct("<QHBB")
UNWRITTEN, REFCOUNTED = 1, 2
INLINE = 0x1
MAX_DEPTH = 8
MAX_NODES = 1 << 22
MAX_DIRECTORY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes; `root` is the block of the root directory's inode."""

    block: int
    cluster: int
    root: int
    system: int


@dataclass(frozen=True, slots=True)
class Inode:
    """A file's inode as it lies in `block`, whose bytes are `data`."""

    block: int
    data: bytes
    size: int
    mode: int
    features: int


@dataclass(frozen=True, slots=True)
class Record:
    """A run of clusters: `start` and `clusters` in the file, `block` on the disk."""

    start: int
    clusters: int
    block: int
    flags: int


def map_ocfs2_file(fd: int, path: str | int, source_space: str, target_space: str) -> RangeMap:
    """Map a file of the volume open as `fd`, by its path there or its inode number; holes are UNALLOCATED.

    Raises:
        MapError: The volume cannot be believed; the error names the field.
        UsageError: There is no such file.
    """
    geometry = read_geometry(fd)
    inode = read_inode(fd, geometry, path if isinstance(path, int) else find_inode(fd, geometry, path))
    return map_inode(fd, geometry, inode, source_space, target_space)


def map_inode(fd: int, geometry: Geometry, inode: Inode, source_space: str, target_space: str) -> RangeMap:
    """Map a file of the volume by its inode, as `map_ocfs2_file`; raise MapError where that cannot be believed."""
    if inode.features & INLINE:
        place = inode.block * geometry.block + INLINE_DATA
        return RangeMap.of(source_space, target_space, 0, max(inode.size, 1), place, Kind.INLINE)
    records = list(read_records(fd, geometry, inode))
    start = np.array([record.start for record in records], dtype=np.int64) * geometry.cluster
    length = np.array([record.clusters for record in records], dtype=np.int64) * geometry.cluster
    target = np.array([record.block for record in records], dtype=np.int64) * geometry.block
    flags = np.array([record.flags for record in records], dtype=np.int64)
    kind = np.full(len(records), Kind.MAPPED, dtype=np.uint8)
    kind[(flags & UNWRITTEN) != 0] |= np.uint8(Flag.UNWRITTEN)
    kind[(flags & REFCOUNTED) != 0] |= np.uint8(Flag.SHARED)
    is_hole = target == 0
    kind[is_hole] = Kind.UNALLOCATED
    found = RangeMap.of(source_space, target_space, start, length, np.where(is_hole, NOWHERE, target), kind)
    size = max(inode.size, int(found.end[-1]) if len(found) else 0)
    return found.fill(size, Kind.UNALLOCATED).coalesce()


def read_geometry(fd: int) -> Geometry:
    """Find the superblock, whichever the block size; raise MapError that names what cannot be believed."""
    for bits in range(9, 13):
        data = os.pread(fd, 512, SUPER_BLOCK << bits)
        if data.startswith(SUPER_MAGIC) and len(data) == 512:
            root, system, block_bits, cluster_bits = struct.unpack_from("<QQII", data, 0xE8)
            if block_bits != bits:
                _refuse("s_blocksize_bits", f"{block_bits} in a superblock that lies where that of {bits} does")
            if not 12 <= cluster_bits <= 20:
                _refuse("s_clustersize_bits", f"{cluster_bits} is not within 12..20")
            return Geometry(1 << bits, 1 << cluster_bits, root, system)
    return _refuse("superblock", "this is no OCFS2 volume")


def read_inode(fd: int, geometry: Geometry, number: int) -> Inode:
    """Read an inode, whose number is its block."""
    if not 0 < number < 1 << 50:
        _refuse("inode", f"{number} is no block")
    data = os.pread(fd, geometry.block, number * geometry.block)
    if len(data) < geometry.block or not data.startswith(INODE_MAGIC):
        _refuse("inode", f"block {number} holds none")
    size, mode = struct.unpack_from("<QH", data, 0x20)
    (features,) = struct.unpack_from("<H", data, 0x76)
    if size > 1 << 62:
        _refuse("i_size", f"{size} of inode {number}")
    return Inode(number, data, size, mode, features)


def read_records(fd: int, geometry: Geometry, inode: Inode) -> Iterator[Record]:
    """Yield the leaf records of a file in the order of its bytes; raise MapError where the tree cannot be believed."""
    seen: set[int] = set()
    end = 0
    for record in _tree(fd, geometry, inode.data, INODE_LIST, None, seen):
        if record.start < end:
            _refuse("e_cpos", f"cluster {record.start} of inode {inode.block} comes twice or out of order")
        end = record.start + record.clusters
        yield record


def find_inode(fd: int, geometry: Geometry, path: str) -> int:
    """Find the inode of a path; `//name` is in the system directory.

    Raises:
        UsageError: There is no such file.
    """
    number = geometry.system if path.startswith("//") else geometry.root
    for part in filter(None, path.split("/")):
        inode = read_inode(fd, geometry, number)
        found = dict(_entries(fd, geometry, inode)).get(os.fsencode(part)) if stat.S_ISDIR(inode.mode) else None
        if found is None:
            raise UsageError(
                f"the OCFS2 volume has no file {printable(path)}", "its path is that below its mount point"
            )
        number = found
    return number


def _tree(fd: int, geometry: Geometry, node: bytes, place: int, depth: int | None, seen: set[int]) -> Iterator[Record]:
    found, count, used = LIST.unpack_from(node, place)
    if (depth is not None and found != depth) or found > MAX_DEPTH:
        _refuse("l_tree_depth", f"{found} where {depth if depth is not None else f'at most {MAX_DEPTH}'} should be")
    if used > count or place + LIST.size + used * RECORD_BYTES > len(node):
        _refuse("l_next_free_rec", f"{used} records of {count} do not fit into the block")
    for number in range(used):
        at = place + LIST.size + number * RECORD_BYTES
        if found == 0:
            start, clusters, _, flags, block = LEAF.unpack_from(node, at)
            if clusters and block < 1 << 50:
                yield Record(start, clusters, block, flags)
            elif clusters:
                _refuse("e_blkno", f"{block} is no block")
            continue
        start, clusters, block = INDEX.unpack_from(node, at)
        if clusters or block:
            yield from _tree(fd, geometry, _extent_block(fd, geometry, block, seen), EXTENT_LIST, found - 1, seen)


def _extent_block(fd: int, geometry: Geometry, number: int, seen: set[int]) -> bytes:
    if number in seen or len(seen) > MAX_NODES:
        _refuse("e_blkno", f"extent block {number} is in the tree twice, or the tree has no end")
    seen.add(number)
    data = os.pread(fd, geometry.block, number * geometry.block) if number < 1 << 50 else b""
    if len(data) < geometry.block or not data.startswith(EXTENT_MAGIC):
        _refuse("e_blkno", f"block {number} is no extent block")
    return data


def _entries(fd: int, geometry: Geometry, inode: Inode) -> Iterator[tuple[bytes, int]]:
    """Yield names and inodes of a directory."""
    if inode.features & INLINE:
        yield from _entries_of(inode.data[INLINE_DATA : INLINE_DATA + min(inode.size, geometry.block)])
        return
    for record in read_records(fd, geometry, inode):
        length = record.clusters * geometry.cluster
        if length > MAX_DIRECTORY_BYTES:
            _refuse("directory", f"inode {inode.block} is larger than {MAX_DIRECTORY_BYTES} bytes")
        data = os.pread(fd, length, record.block * geometry.block)
        for at in range(0, len(data), geometry.block):
            yield from _entries_of(data[at : at + geometry.block])


def _entries_of(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + DIRECTORY_ENTRY.size <= len(data):
        inode, length, name_length, _ = DIRECTORY_ENTRY.unpack_from(data, at)
        if length < DIRECTORY_ENTRY.size:
            return
        name = data[at + DIRECTORY_ENTRY.size :][:name_length]
        if inode:
            yield name, inode
        at += length


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"OCFS2 {field}: {why}", "look at the volume with: fsck.ocfs2 -n")
