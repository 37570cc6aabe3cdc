"""btrfs: FIEMAP answers with addresses of the file system's own; the chunk tree takes them on to its devices.

The chunk tree is read by the tree-search ioctl, which needs CAP_SYS_ADMIN. On one fresh device the two kinds of
address are the same for a while, which hides every error.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.compose import compose
from vio.mappers.device.stripes import Copies, Deal, Member, deal_out, merged
from vio.mappers.extent import RangeMap
from vio.mappers.hostfs.fiemap import map_file
from vio.mappers.interval import without_overlap
from vio.mappers.kind import Bools, Ints, is_encoded
from vio.mappers.space import device_space

TREE_SEARCH = 0xD0009411
DEV_INFO = 0xD000941E
FS_INFO = 0x8400941F
CHUNK_TREE, FIRST_CHUNK, CHUNK_ITEM = 3, 256, 228
STRIPE = 64 << 10
MAX_CHUNKS = 1 << 20

ARGUMENTS = 4096
KEY = struct.Struct("=QQQQQQQIIII32x")
ITEM = struct.Struct("=QQQII")
CHUNK = struct.Struct("<QQQQIIIHH")
STRIPE_ITEM = struct.Struct("<QQ16s")

RAID0, RAID1, DUP, RAID10, RAID5, RAID6, RAID1C3, RAID1C4 = (1 << bit for bit in range(3, 11))
PROFILES = RAID0 | RAID1 | DUP | RAID10 | RAID5 | RAID6 | RAID1C3 | RAID1C4


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of the file system's addresses; `stripes` are (device id, byte on it) in the order of the chunk."""

    start: int
    length: int
    stripe_bytes: int
    profile: int
    sub_stripes: int
    stripes: tuple[tuple[int, int], ...]


def map_btrfs_file(fd: int, space: str, sync: bool = False) -> tuple[RangeMap, tuple[tuple[RangeMap, int], ...]]:
    """Map an open file: its extents in the file system's own addresses, and its maps to devices, copy by copy.

    Raises:
        MapError: The chunk tree may not be read, or cannot be believed.
    """
    logical = f"btrfs:{_fsid(fd)}"
    extents = map_file(fd, space, logical, sync)
    chunks = list(read_chunks(fd))
    devices = {devid: _device(fd, devid) for devid in {devid for one in chunks for devid, _ in one.stripes}}
    placed = extents.target >= 0
    lengths = np.maximum(np.where(is_encoded(extents.kind), 1, extents.target_length), 1)[placed]
    below = map_chunks(logical, chunks, devices, extents.target[placed], lengths)
    return extents, tuple(_upon(extents, below)) or ((extents, 0),)


def map_chunks(
    source: str, chunks: list[Chunk], devices: dict[int, str], start: Ints, length: Ints
) -> list[tuple[RangeMap, int]]:
    """Map ranges of the file system's addresses to its devices (id to address space), copy by copy.

    Raises:
        MapError: A chunk is of a kind that is not known.
    """
    begins, ends = without_overlap(start, start + length)
    maps: Copies = []
    for chunk in chunks:
        # Ranges that meet the chunk, counted from its start: stripes are.
        begin = np.maximum(begins, chunk.start) - chunk.start
        end = np.minimum(ends, chunk.start + chunk.length) - chunk.start
        kept = end > begin
        if not kept.any():
            continue
        members = [Member(devices[devid], offset) for devid, offset in chunk.stripes]
        unit, deals = _deals(chunk)
        dealt = deal_out(source, begin[kept], end[kept], unit, members, deals)
        for ranges, copy in dealt:
            rows = ranges.rows._replace(start=ranges.start + chunk.start)
            maps.append((RangeMap(source, ranges.target_space, *rows), copy))
    return merged(maps)


def parse_chunk(start: int, data: bytes) -> Chunk:
    """Read a chunk item; raise MapError that names the field that cannot be believed."""
    if len(data) < CHUNK.size:
        _refuse("chunk", f"an item of {len(data)} bytes")
    length, _, stripe_bytes, kind, _, _, _, count, sub_stripes = CHUNK.unpack_from(data)
    if not 0 < length <= LAST - start:
        _refuse("chunk length", f"{length} at {start:#x}")
    if not 0 < count <= 1024 or len(data) < CHUNK.size + count * STRIPE_ITEM.size:
        _refuse("num_stripes", f"{count} in an item of {len(data)} bytes")
    if stripe_bytes != STRIPE:
        _refuse("stripe_len", f"{stripe_bytes} is not {STRIPE}")
    stripes = tuple(STRIPE_ITEM.unpack_from(data, CHUNK.size + i * STRIPE_ITEM.size)[:2] for i in range(count))
    if any(offset > LAST - length for _, offset in stripes):
        _refuse("stripe offset", f"too great in the chunk at {start:#x}")
    return Chunk(start, length, stripe_bytes, kind & PROFILES, sub_stripes, stripes)


def read_chunks(fd: int) -> Iterator[Chunk]:
    """Yield the chunks of the file system that a file is on, by address.

    Raises:
        MapError: The kernel refuses, or an item cannot be believed.
    """
    start = count = 0
    while count <= MAX_CHUNKS:
        key = (CHUNK_TREE, FIRST_CHUNK, FIRST_CHUNK, start, 2**64 - 1, 0, 2**64 - 1, CHUNK_ITEM, CHUNK_ITEM, 4096, 0)
        buffer = bytearray(ARGUMENTS)
        KEY.pack_into(buffer, 0, *key)
        try:
            fcntl.ioctl(fd, TREE_SEARCH, buffer)
        except OSError as error:
            raise MapError(f"btrfs: its chunk tree may not be read: {error.strerror}", "run vio as root") from error
        found = KEY.unpack_from(buffer)[9]
        place = KEY.size
        for _ in range(found):
            _, _, offset, _, size = ITEM.unpack_from(buffer, place)
            place += ITEM.size
            yield parse_chunk(offset, bytes(buffer[place : place + size]))
            place += size
            start = offset + 1
        if not found:
            return
        count += found
    _refuse("chunk tree", f"more than {MAX_CHUNKS} chunks")


def _deals(chunk: Chunk) -> tuple[int, list[Deal]]:
    """Tell how a chunk is dealt out: the unit, and for each copy which stripe holds a unit."""
    count, profile = len(chunk.stripes), chunk.profile
    if profile in (0, RAID1, DUP, RAID1C3, RAID1C4):
        return chunk.length, [partial(_mirror, copy=copy) for copy in range(count)]
    if profile == RAID0:
        return STRIPE, [lambda unit: (unit % count, unit // count)]
    if profile == RAID10 and chunk.sub_stripes > 0 and count % chunk.sub_stripes == 0:
        sub = chunk.sub_stripes
        return STRIPE, [partial(_raid10, sub=sub, groups=count // sub, copy=copy) for copy in range(sub)]
    parity = {RAID5: 1, RAID6: 2}.get(profile, count)
    if count > parity:
        return STRIPE, [partial(_rotated, data=count - parity, count=count)]
    return _refuse("chunk type", f"profile {profile:#x} with {count} stripes")


def _mirror(unit: Ints, copy: int) -> tuple[Ints, Ints]:
    return np.full_like(unit, copy), unit


def _raid10(unit: Ints, sub: int, groups: int, copy: int) -> tuple[Ints, Ints]:
    return unit % groups * sub + copy, unit // groups


def _rotated(unit: Ints, data: int, count: int) -> tuple[Ints, Ints]:
    row = unit // data
    return (unit % data + row) % count, row


def _upon(extents: RangeMap, below: list[tuple[RangeMap, int]]) -> Iterator[tuple[RangeMap, int]]:
    """Put the extents upon the maps to devices; what has no address is said by the first of them only."""
    placed = RangeMap(extents.source_space, extents.target_space, *extents.rows.take(extents.target >= 0))
    for number, (lower, copy) in enumerate(below):
        ranges = compose(placed if number else extents, lower)
        kept = (ranges.target >= 0) if number else _is_said(ranges, extents)
        yield RangeMap(ranges.source_space, ranges.target_space, *ranges.rows.take(kept)), copy


def _is_said(ranges: RangeMap, extents: RangeMap) -> Bools:
    had_address = extents.target[np.searchsorted(extents.start, ranges.start, side="right") - 1] >= 0
    return np.asarray((ranges.target >= 0) | ~had_address, dtype=np.bool_)


def _fsid(fd: int) -> str:
    answer = bytearray(1024)
    fcntl.ioctl(fd, FS_INFO, answer)
    text = answer[16:32].hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _device(fd: int, devid: int) -> str:
    answer = bytearray(ARGUMENTS)
    answer[:8] = devid.to_bytes(8, "little")
    try:
        fcntl.ioctl(fd, DEV_INFO, answer)
        path = bytes(answer[ARGUMENTS - 1024 :]).split(b"\0")[0]
        return device_space(os.stat(path).st_rdev)  # noqa: PTH116 - the kernel's bytes, not a text
    except OSError as error:
        raise MapError(f"btrfs: its device {devid} is not there: {error.strerror}") from error


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"btrfs {field}: {why}")
