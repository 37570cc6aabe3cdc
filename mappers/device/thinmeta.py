"""The metadata of a pool of thin volumes (dm-thin), read as the kernel's last commit left it, and never written.

A superblock in block 0 leads to two b+trees: one maps the number of a volume to the root of the volume's own tree,
which maps its blocks to `data block << 24 | time`; the other has details of each volume. A node that changes is written
to another place, and the superblock last: as long as that stays the same, all below it does. All is little endian.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.device.crc32c import Bytes, crc32c
from vio.mappers.device.stripes import MAX_PIECES
from vio.mappers.kind import Bools, Ints

BLOCK = 4096
SECTOR = 512
SUPERBLOCK = struct.Struct("<IIQ16sQIIQQ128s128sQQIIQIII")
MAGIC = 27022010
VERSIONS = (1, 2)
SUPERBLOCK_XOR, NODE_XOR = 160774, 121107
NODE = np.dtype("<u4,<u4,<u8,<u4,<u4,<u4,<u4")
NODE.names = ("csum", "flags", "block", "used", "room", "value_bytes", "padding")
INNER, LEAF = 1, 2
WORD = 8
POINTER_WORDS, DETAILS_WORDS = 1, 3
TIME_BITS = 24
UNIT_SECTORS = 128
"""What the size of data blocks is a multiple of."""
MAX_UNIT_SECTORS = 1 << 21
MAX_DEPTH = 10
MAX_BLOCKS = 1 << 22
"""The kernel uses no more of a metadata device: 16 GiB."""
TRIES = 5
_BATCH = 1024

Read = Callable[[Ints], Bytes]
"""Reads metadata blocks by their numbers: a row of 4096 bytes for each."""
Words = npt.NDArray[np.uint64]


class Blocks(NamedTuple):
    """Blocks of a volume that are provisioned, ascending: their numbers, where each is on the data device, its time."""

    number: Ints
    data: Ints
    time: Ints


@dataclass(frozen=True, slots=True)
class Volume:
    """A thin volume; what is older than its last snapshot is shared with that. `is_held`: as of a metadata snapshot."""

    unit_bytes: int
    blocks: Blocks
    snapshot_time: int
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is needed of it; sizes in bytes, all else in blocks."""

    held_root: int
    data_blocks: int
    mapping_root: int
    details_root: int
    unit_bytes: int


def read_volume(read: Read, number: int, unit_bytes: int, within: tuple[Ints, Ints]) -> Volume:
    """Read which blocks of a volume are where; `within` are ranges of it in bytes (begins, ends), sorted.

    `unit_bytes` is the size of a data block, which the pool's table has as well.

    The last commit is read, and again if there was another one meanwhile; if there always is, the metadata snapshot is
    read, if one is reserved.

    Raises:
        MapError: The metadata cannot be believed (the error names the field), has no such volume, or never rests.
    """
    for _ in range(TRIES):
        before = _read_block(read, 0)
        failed = None
        try:
            found = _volume_of(read, parse_superblock(before, 0), number, unit_bytes, within)
        except MapError as error:
            failed = error
        if _read_block(read, 0) == before:
            if failed:
                raise failed
            return found
    return _held_volume(read, number, unit_bytes, within)


def parse_superblock(data: bytes, place: int) -> Superblock:
    """Check a superblock that lies in block `place`; raise MapError that names the field."""
    (
        csum, _flags, block, _uuid, magic, version, _time, _transaction, held_root, space_map, _, mapping_root,
        details_root, unit_sectors, block_sectors, _blocks, _compat, _compat_ro, incompat,
    ) = SUPERBLOCK.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        _refuse("magic", f"{magic} is not that of thin metadata")
    if block != place:
        _refuse("blocknr", f"{block} in the superblock of block {place}")
    wanted = int(crc32c(np.frombuffer(data, dtype=np.uint8)[None, 4:])[0]) ^ SUPERBLOCK_XOR
    if csum != wanted:
        _refuse("csum", f"{csum:#x} of the superblock, whose bytes have {wanted:#x}")
    if version not in VERSIONS:
        _refuse("version", f"{version} is not known")
    if incompat:
        _refuse("incompat_flags", f"{incompat:#x} are not known")
    if not 0 < unit_sectors <= MAX_UNIT_SECTORS or unit_sectors % UNIT_SECTORS:
        _refuse("data_block_size", f"{unit_sectors} sectors")
    if block_sectors * SECTOR != BLOCK:
        _refuse("metadata_block_size", f"{block_sectors} sectors, not {BLOCK // SECTOR}")
    (data_blocks,) = struct.unpack_from("<Q", space_map)
    if data_blocks * unit_sectors * SECTOR > LAST:
        _refuse("data_space_map_root", f"{data_blocks} data blocks of {unit_sectors} sectors")
    return Superblock(held_root, data_blocks, mapping_root, details_root, unit_sectors * SECTOR)


def _held_volume(read: Read, number: int, unit_bytes: int, within: tuple[Ints, Ints]) -> Volume:
    live = parse_superblock(_read_block(read, 0), 0)
    if not live.held_root:
        raise MapError(
            f"dm-thin: the pool has committed new metadata during each of {TRIES} readings",
            "reserve a metadata snapshot first: dmsetup message POOL 0 reserve_metadata_snap",
        )
    held = parse_superblock(_read_block(read, live.held_root), live.held_root)
    # Its copy of the space map's root, which has the number of data blocks, is wiped; the pool has not shrunk since.
    whole = Superblock(0, live.data_blocks, held.mapping_root, held.details_root, held.unit_bytes)
    found = _volume_of(read, whole, number, unit_bytes, within)
    if parse_superblock(_read_block(read, 0), 0).held_root != live.held_root:
        _refuse("held_root", "the metadata snapshot was released while it was read")
    return Volume(found.unit_bytes, found.blocks, found.snapshot_time, is_held=True)


def _volume_of(read: Read, head: Superblock, number: int, unit_bytes: int, within: tuple[Ints, Ints]) -> Volume:
    if head.unit_bytes != unit_bytes:
        _refuse("data_block_size", f"{head.unit_bytes} bytes, where the pool's table has {unit_bytes}")
    root = int(_find(read, head.mapping_root, number, POINTER_WORDS)[0])
    details = _find(read, head.details_root, number, DETAILS_WORDS)
    begin, end = within[0] // unit_bytes, -(-within[1] // unit_bytes)
    keys, values = _walk(read, root, POINTER_WORDS, begin, end)
    data = (values[:, 0] >> np.uint64(TIME_BITS)).astype(np.int64)
    if len(data) and int(data.max()) >= head.data_blocks:
        _refuse("data block", f"{int(data.max())} of a pool that has {head.data_blocks}")
    time = (values[:, 0] & np.uint64((1 << TIME_BITS) - 1)).astype(np.int64)
    return Volume(unit_bytes, Blocks(keys.astype(np.int64), data, time), int(details[2]) >> 32)


def _find(read: Read, root: int, key: int, value_words: int) -> Words:
    """Find the value of one key."""
    found, values = _walk(read, root, value_words, np.array([key]), np.array([key + 1]))
    if not len(found):
        _refuse("device", f"the pool has no volume {key}")
    value: Words = values[0]
    return value


def _walk(read: Read, root: int, value_words: int, begin: Ints, end: Ints) -> tuple[Words, Words]:
    """Give the keys of a tree that lie in ranges (sorted, disjoint), and the words of the value of each."""
    level = np.array([root], dtype=np.uint64)
    for _ in range(MAX_DEPTH):
        is_leaf, keys, values = _level(read, level, value_words)
        if is_leaf:
            kept = _touches(keys, keys, begin, end)
            return keys[kept], values[kept]
        last = np.append(keys[1:] - np.uint64(1), np.uint64((1 << 64) - 1))
        level = values[_touches(keys, last, begin, end), 0]
    return _refuse("flags", f"the tree at block {root} has more than {MAX_DEPTH} levels")


def _touches(first: Words, last: Words, begin: Ints, end: Ints) -> Bools:
    """Tell which of the stretches `[first, last]` of keys touch one of the ranges."""
    following = np.searchsorted(end.astype(np.uint64), first, side="right")
    begins = np.append(begin, 0).astype(np.uint64)
    return np.asarray((following < len(begin)) & (begins[following] <= last), dtype=np.bool_)


def _level(read: Read, level: Words, value_words: int) -> tuple[bool, Words, Words]:
    """Read the nodes of one level of a tree: whether they are its leaves, and all their keys and values."""
    if not len(level):
        return True, np.empty(0, dtype=np.uint64), np.empty((0, value_words), dtype=np.uint64)
    if int(level.max()) >= MAX_BLOCKS or len(np.unique(level)) < len(level):
        _refuse("blocknr", f"a tree leads to block {int(level.max())}, or twice to one block")
    numbers, count = level.astype(np.int64), 0
    leaves, keys, values = set[bool](), list[Words](), list[Words]()
    for first in range(0, len(numbers), _BATCH):
        is_leaf, some_keys, some_values = _nodes(read, numbers[first : first + _BATCH], value_words)
        leaves.add(is_leaf)
        keys.append(some_keys)
        values.append(some_values)
        count += len(some_keys)
        if count > MAX_PIECES:
            _refuse("nr_entries", f"a level of a tree has more than {MAX_PIECES} entries")
    if len(leaves) > 1:
        _refuse("flags", "leaves and inner nodes are in one level of a tree")
    joined = np.concatenate(keys)
    if np.any(joined[1:] <= joined[:-1]):
        _refuse("keys", "those of a tree are out of order")
    return leaves.pop(), joined, np.concatenate(values)


def _nodes(read: Read, numbers: Ints, value_words: int) -> tuple[bool, Words, Words]:
    """Read and check nodes, and take out their entries."""
    data = read(numbers)
    heads = data[:, : NODE.itemsize].copy().view(NODE)[:, 0]
    csum, flags, used, room = (heads[name].astype(np.int64) for name in ("csum", "flags", "used", "room"))
    is_leaf = bool(flags[0] & LEAF)
    words = value_words if is_leaf else POINTER_WORDS
    wanted = (crc32c(data[:, 4:]) ^ np.uint32(NODE_XOR)).astype(np.int64)
    for field, bad, found in (
        ("csum", csum != wanted, csum),
        ("blocknr", heads["block"] != numbers.astype(np.uint64), heads["block"]),
        ("flags", (flags & (INNER | LEAF)) != (LEAF if is_leaf else INNER), flags),
        ("value_size", heads["value_bytes"] != words * WORD, heads["value_bytes"]),
        ("max_entries", NODE.itemsize + room * (1 + words) * WORD > BLOCK, room),
        ("nr_entries", used > room, used),
    ):
        if bad.any():
            at = int(np.argmax(bad))
            _refuse(field, f"{int(found[at])} in the node at block {int(numbers[at])}")
    owner = np.repeat(np.arange(len(numbers)), used)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(used) - used, used)
    key_at = owner * (BLOCK // WORD) + NODE.itemsize // WORD + place
    value_at = key_at + room[owner] + place * (words - 1)
    content = data.reshape(-1).view("<u8")
    return is_leaf, content[key_at], content[value_at[:, None] + np.arange(words)]


def _read_block(read: Read, number: int) -> bytes:
    if number >= MAX_BLOCKS:
        _refuse("held_root", f"{number} is no block")
    return read(np.array([number])).tobytes()


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"dm-thin {field}: {why}", "look at the pool's metadata with: thin_check")
