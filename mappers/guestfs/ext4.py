"""ext2, ext3, ext4 of a guest: files by libfsext; superblocks, bitmaps, inode tables by its group descriptors."""

import struct
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Walked, walk_entries
from vio.mappers.kind import Ints

MAGIC_OFFSET, MAGIC = 1080, b"\x53\xef"
SUPERBLOCK = 1024
INCOMPAT_META_BG, INCOMPAT_64BIT = 0x10, 0x80
RO_SPARSE_SUPER, RO_BIGALLOC = 0x1, 0x200
JOURNAL_INODE, RESIZE_INODE = 8, 7
MAX_GROUPS = 1 << 22

Areas = list[tuple[str, Ints, int]]
"""A name, byte offsets in the volume, and the length of what lies at each."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is needed of it; sizes in bytes."""

    block: int
    blocks: int
    first_block: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    reserved_descriptor_blocks: int
    first_meta_group: int
    has_meta_groups: bool
    is_sparse: bool

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)


def walk_ext4(volume: Content) -> Walked:
    """List the files of a volume and their extents, the journal among them; raise MapError where that fails."""
    import pyfsext

    library = pyfsext.volume()
    try:
        library.open_file_object(volume)
        walked = walk_entries(library.get_root_directory())
        for inode, name in ((JOURNAL_INODE, "[journal]"), (RESIZE_INODE, "[resize inode]")):
            _add_inode(library, inode, name, walked)
    except OSError as error:
        raise MapError(f"ext4 of the guest: {str(error).splitlines()[0][:200]}") from error
    return walked


def _add_inode(library: object, inode: int, name: str, walked: Walked) -> None:
    try:
        entry = library.get_file_entry_by_inode(inode)  # type: ignore[attr-defined]
        if entry.number_of_extents:
            walked.add(name, entry)
    except OSError:
        return  # this file system has none


def ext4_areas(volume: Content) -> Areas:
    """Find the metadata of a volume that belongs to no file; raise MapError that names what cannot be believed."""
    sb = read_superblock(volume)
    descriptors = _descriptors(volume, sb)
    size, has_64bit = sb.descriptor_size, sb.descriptor_size >= 64
    table = np.frombuffer(descriptors, dtype=np.uint8).reshape(-1, size)

    def field(low: int, high: int) -> Ints:
        value = table[:, low : low + 4].copy().view("<u4")[:, 0].astype(np.int64)
        if has_64bit:
            value += table[:, high : high + 4].copy().view("<u4")[:, 0].astype(np.int64) << 32
        return value * sb.block

    backups = np.array([group for group in range(sb.groups) if _has_super(sb, group)], dtype=np.int64)
    begin = (backups * sb.blocks_per_group + sb.first_block) * sb.block
    length = sb.block
    if not sb.has_meta_groups:
        length += -(-sb.groups * size // sb.block) * sb.block + sb.reserved_descriptor_blocks * sb.block
    areas: Areas = [
        ("[superblock and group descriptors]", begin, length),
        ("[block bitmap]", field(0, 0x20), sb.block),
        ("[inode bitmap]", field(4, 0x24), sb.block),
        ("[inode table]", field(8, 0x28), sb.inodes_per_group * sb.inode_size),
    ]
    if sb.has_meta_groups:
        areas.append(("[superblock and group descriptors]", _meta_blocks(sb) * sb.block, sb.block))
    return areas


def read_superblock(volume: Content) -> Superblock:
    """Read the superblock; raise MapError that names the field that cannot be believed."""
    data = volume.read_at(SUPERBLOCK, 1024)
    if len(data) < 1024 or data[56:58] != MAGIC:
        _refuse("s_magic", "this is no ext file system")

    def u32(at: int) -> int:
        return int(struct.unpack_from("<I", data, at)[0])

    def u16(at: int) -> int:
        return int(struct.unpack_from("<H", data, at)[0])

    incompat, ro_compat = u32(96), u32(100)
    if u32(24) > 6:
        _refuse("s_log_block_size", str(u32(24)))
    has_64bit = bool(incompat & INCOMPAT_64BIT)
    sb = Superblock(
        block=1024 << u32(24),
        blocks=u32(4) | (u32(0x150) << 32 if has_64bit else 0),
        first_block=u32(20),
        blocks_per_group=u32(32),
        inodes_per_group=u32(40),
        inode_size=u16(88) if u32(76) else 128,
        descriptor_size=u16(254) if has_64bit else 32,
        reserved_descriptor_blocks=u16(206),
        first_meta_group=u32(0x104),
        has_meta_groups=bool(incompat & INCOMPAT_META_BG),
        is_sparse=bool(ro_compat & RO_SPARSE_SUPER),
    )
    for name, is_bad in (
        ("s_blocks_count", not 0 < sb.blocks < 1 << 48),
        ("s_blocks_per_group", sb.blocks_per_group < 8),
        ("s_inodes_per_group", not 0 < sb.inodes_per_group <= 1 << 27),
        ("s_inode_size", not 128 <= sb.inode_size <= sb.block),
        ("s_desc_size", not 32 <= sb.descriptor_size <= 1024 or sb.block % sb.descriptor_size),
        ("s_first_data_block", sb.first_block > 1),
    ):
        if is_bad:
            _refuse(name, "it cannot be that")
    if sb.groups > MAX_GROUPS:
        _refuse("s_blocks_per_group", f"it makes {sb.groups} groups")
    return sb


def _descriptors(volume: Content, sb: Superblock) -> bytes:
    size = sb.groups * sb.descriptor_size
    if sb.has_meta_groups:
        blocks = [volume.read_at(block * sb.block, sb.block) for block in _meta_blocks(sb).tolist()]
        data = b"".join(blocks)[:size]
    else:
        data = volume.read_at((sb.first_block + 1) * sb.block, size)
    if len(data) < size:
        _refuse("group descriptors", "they are not inside the volume")
    return data


def _meta_blocks(sb: Superblock) -> Ints:
    """Find the blocks of group descriptors: together at the front first, then one to each meta group."""
    per_block = sb.block // sb.descriptor_size
    count = -(-sb.groups // per_block)
    front = min(sb.first_meta_group, count)
    blocks = [sb.first_block + 1 + number for number in range(front)]
    for number in range(front, count):
        group = number * per_block
        blocks.append(sb.first_block + group * sb.blocks_per_group + int(_has_super(sb, group)))
    return np.array(blocks, dtype=np.int64)


def _has_super(sb: Superblock, group: int) -> bool:
    if not sb.is_sparse or group <= 1:
        return True
    return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"ext4 of the guest, {field}: {why}")
