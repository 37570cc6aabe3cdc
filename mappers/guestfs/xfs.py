"""xfs of a guest: files by libfsxfs, whose addresses are corrected; allocation group headers, log and inodes."""

import struct
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Entry, Walked, walk_entries
from vio.mappers.guestfs.ext4 import Areas
from vio.mappers.kind import Ints

MAGIC = b"XFSB"
INODES_PER_CHUNK = 64
HEADER_SECTORS = 4
SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is needed of the superblock; `block`, `sector` and `inode` are sizes in bytes."""

    block: int
    sector: int
    inode: int
    ag_blocks: int
    ag_count: int
    ag_block_log: int
    inodes_per_block_log: int
    log_start: int
    log_blocks: int

    def address(self, fs_block: Ints) -> Ints:
        """Take file system blocks, which hold the group's number in their upper bits, to bytes of the volume."""
        group, inside = fs_block >> self.ag_block_log, fs_block & ((1 << self.ag_block_log) - 1)
        return np.asarray((group * self.ag_blocks + inside) * self.block, dtype=np.int64)

    def inode_chunks(self, inodes: Ints) -> Ints:
        """Give the byte offsets of the chunks of 64 inodes that hold these inodes, each once."""
        first = np.unique(inodes & ~np.int64(INODES_PER_CHUNK - 1))
        block = first >> self.inodes_per_block_log
        inside = first & ((1 << self.inodes_per_block_log) - 1)
        return np.asarray(self.address(block) + inside * self.inode, dtype=np.int64)


def walk_xfs(volume: Content) -> Walked:
    """List the files of a volume and their extents; raise MapError where that fails."""
    import pyfsxfs

    geometry = read_geometry(volume)
    library = pyfsxfs.volume()
    try:
        library.open_file_object(volume)
        root = library.get_root_directory()
        walked = walk_entries(root, keeps_sparse=True)
        if _is_packed(root, volume, geometry):
            start = geometry.address(np.array(walked.start, dtype=np.int64) // geometry.block)
            walked = replace(walked, start=start.tolist())
    except OSError as error:
        raise MapError(f"xfs of the guest: {str(error).splitlines()[0][:200]}") from error
    return walked


def xfs_areas(volume: Content) -> Areas:
    """Find the group headers and the log; raise MapError that names what cannot be believed."""
    geometry = read_geometry(volume)
    groups = np.arange(geometry.ag_count, dtype=np.int64) * geometry.ag_blocks * geometry.block
    header = -(-HEADER_SECTORS * geometry.sector // geometry.block) * geometry.block
    areas: Areas = [("[allocation group headers]", groups, header)]
    if geometry.log_start:
        log = geometry.address(np.array([geometry.log_start], dtype=np.int64))
        areas.append(("[log]", log, geometry.log_blocks * geometry.block))
    chunks = _known_chunks(volume, geometry)
    return [*areas, ("[inodes]", chunks, INODES_PER_CHUNK * geometry.inode)] if len(chunks) else areas


def read_geometry(volume: Content) -> Geometry:
    """Read the superblock; raise MapError that names the field that cannot be believed."""
    data = volume.read_at(0, 512)
    if len(data) < 512 or not data.startswith(MAGIC):
        _refuse("sb_magicnum", "this is no xfs")
    block, log_start = struct.unpack_from(">I", data, 4)[0], struct.unpack_from(">Q", data, 48)[0]
    ag_blocks, ag_count, _, log_blocks = struct.unpack_from(">IIII", data, 84)
    sector, inode = struct.unpack_from(">HH", data, 102)
    per_block_log, ag_block_log = data[123], data[124]
    for name, is_bad in (
        ("sb_blocksize", block not in [1 << bit for bit in range(9, 17)]),
        ("sb_sectsize", sector not in [1 << bit for bit in range(9, 16)]),
        ("sb_inodesize", inode not in [1 << bit for bit in range(8, 12)]),
        ("sb_agblocks", not 0 < ag_blocks <= 1 << ag_block_log if ag_block_log < 32 else True),
        ("sb_agcount", not 0 < ag_count <= 1 << 20),
        ("sb_inopblog", per_block_log > 8),
        ("sb_logstart", log_start >> 63),
    ):
        if is_bad:
            _refuse(name, "it cannot be that")
    return Geometry(block, sector, inode, ag_blocks, ag_count, ag_block_log, per_block_log, log_start, log_blocks)


def _known_chunks(volume: Content, geometry: Geometry) -> Ints:
    """Find inode chunks by the leaves of each group's inode tree, as deep as its root."""
    found: list[int] = []
    for group in range(geometry.ag_count):
        agi = volume.read_at(group * geometry.ag_blocks * geometry.block + 2 * geometry.sector, 512)
        if agi[:4] != b"XAGI":
            continue
        root = struct.unpack_from(">I", agi, 20)[0]
        found += _inode_tree(volume, geometry, group, root)
    return geometry.inode_chunks(np.array(found, dtype=np.int64)) if found else np.empty(0, dtype=np.int64)


def _inode_tree(volume: Content, geometry: Geometry, group: int, root: int) -> list[int]:
    """Read the first inode of each chunk of a group's inode b+tree; a damaged branch is left out."""
    found: list[int] = []
    waiting, seen = [root], set[int]()
    shift = geometry.ag_block_log + geometry.inodes_per_block_log
    while waiting:
        number = waiting.pop()
        if number in seen or number >= geometry.ag_blocks:
            continue
        seen.add(number)
        block = volume.read_at((group * geometry.ag_blocks + number) * geometry.block, geometry.block)
        header = {b"IAB3": 56, b"IABT": 16}.get(block[:4])
        if header is None:
            continue
        level, count = struct.unpack_from(">HH", block, 4)
        if level == 0:
            count = min(count, (len(block) - header) // 16)
            starts = np.frombuffer(block, dtype=">u4", count=count * 4, offset=header)[::4]
            found += [(group << shift) | int(start) for start in starts]
        else:
            most = (len(block) - header) // 8
            count = min(count, most)
            waiting += np.frombuffer(block, dtype=">u4", count=count, offset=header + most * 4).tolist()
    return found


def _is_packed(root: Entry, volume: Content, geometry: Geometry) -> bool:
    """Tell whether the library gives packed block numbers for addresses, as it did when this was written.

    Decided by content: what it reads of a file is compared with what lies at either address.
    """
    waiting = [root]
    for _ in range(100_000):
        if not waiting:
            break
        entry = waiting.pop()
        verdict = _verdict(entry, volume, geometry)
        if verdict is not None:
            return verdict
        try:
            waiting += [entry.get_sub_file_entry(n) for n in range(entry.number_of_sub_file_entries)]
        except OSError:
            continue
    return True


def _verdict(entry: Entry, volume: Content, geometry: Geometry) -> bool | None:
    try:
        if entry.number_of_sub_file_entries or not entry.number_of_extents:
            return None
        start, length, flags = entry.get_extent(0)
        packed = int(geometry.address(np.array([start // geometry.block], dtype=np.int64))[0])
        if flags or not start or packed == start:
            return None
        size = min(length, SAMPLE)
        content = bytes(entry.read_buffer_at_offset(size, 0))
    except OSError:
        return None
    is_packed, is_plain = (volume.read_at(place, len(content)) == content for place in (packed, start))
    return is_packed if content and is_packed != is_plain else None


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"xfs of the guest, {field}: {why}")
