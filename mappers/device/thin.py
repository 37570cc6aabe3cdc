"""Thin volumes: where the blocks of one lie on the data device of its pool, as the pool's metadata says."""

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio.errors import MapError
from vio.mappers.device.crc32c import Bytes
from vio.mappers.device.dm import SECTOR, Segment, device_number
from vio.mappers.device.stripes import Copies
from vio.mappers.device.thinmeta import BLOCK, Read, Volume
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.kind import Flag, Ints, Kind

STALE = "the pool's metadata never rested: where thin blocks lie is as of the metadata snapshot that is reserved"
MAX_VOLUMES = 1 << 24
_NEAR_BLOCKS = 8
"""Blocks that are read although nobody asked for them, where that saves a read."""
_READ_BLOCKS = 256


@dataclass(frozen=True, slots=True)
class ThinVolume:
    """What a table says of a thin volume: its pool and what is below what it lacks are numbers of devices."""

    pool: int
    number: int
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """What a table says of a pool: two numbers of devices, and the bytes of a block."""

    metadata: int
    data: int
    unit_bytes: int


def parse_volume(segment: Segment) -> ThinVolume:
    """Read a segment `thin POOL NUMBER [ORIGIN]`; raise MapError if it makes no sense."""
    try:
        pool, number, *more = segment.words
        if not 0 <= int(number) < MAX_VOLUMES:
            raise ValueError
        return ThinVolume(device_number(pool), int(number), device_number(more[0]) if more else None)
    except ValueError:
        raise _no_sense(segment) from None


def parse_pool(segments: tuple[Segment, ...]) -> Pool:
    """Read the table of a pool, `thin-pool METADATA DATA SECTORS ...`; raise MapError if it is none."""
    if len(segments) != 1 or segments[0].target != "thin-pool":
        raise MapError("device mapper, thin: what it says is its pool is none")
    try:
        metadata, data, sectors, *_ = segments[0].words
        return Pool(device_number(metadata), device_number(data), int(sectors) * SECTOR)
    except ValueError:
        raise _no_sense(segments[0]) from None


@contextmanager
def opened_metadata(node: Path, dev: int) -> Iterator[Read]:
    """Open the metadata device of a pool for reading; `dev` is what `st_rdev` has to be.

    The pool writes past what the kernel keeps of the device for others, so it is read directly.

    Raises:
        MapError: It cannot be opened, or is another device.
    """
    try:
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        raise MapError(f"{node}: the pool's metadata cannot be read: {error.strerror}", "run vio as root") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISBLK(status.st_mode) or status.st_rdev != dev:
            raise MapError(f"{node} is not the metadata device of the pool")
        yield lambda numbers: read_blocks(fd, numbers)
    finally:
        os.close(fd)


def read_blocks(fd: int, numbers: Ints) -> Bytes:
    """Read metadata blocks by their numbers, neighbours at once.

    Raises:
        MapError: One is beyond the end of the device, or cannot be read.
    """
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    blocks = np.empty((len(numbers), BLOCK), dtype=np.uint8)
    # in pages of its own, as direct reading wants it
    buffer = np.frombuffer(mmap.mmap(-1, _READ_BLOCKS * BLOCK), dtype=np.uint8).reshape(-1, BLOCK)
    is_far = (np.diff(ascending) > _NEAR_BLOCKS) | (np.diff(ascending // _READ_BLOCKS) > 0)
    for mine in np.split(order, np.flatnonzero(is_far) + 1):
        first, count = int(numbers[mine[0]]), int(numbers[mine[-1]] - numbers[mine[0]]) + 1
        try:
            size = os.preadv(fd, [buffer[:count].data], first * BLOCK)
        except OSError as error:
            raise MapError(f"dm-thin: block {first} of the metadata cannot be read: {error.strerror}") from error
        if size < count * BLOCK:
            raise MapError(f"dm-thin blocknr: {first + count - 1} is beyond the end of the metadata device")
        blocks[mine] = buffer[numbers[mine] - first]
    return blocks


def map_volume(source: str, target: str, segment: Segment, volume: Volume, within: tuple[Ints, Ints]) -> RangeMap:
    """Map a segment of a device that is a thin volume to the data device of its pool.

    What is not provisioned is UNALLOCATED, what a snapshot has too is SHARED; `within` are ranges of the segment.
    """
    unit, blocks = volume.unit_bytes, volume.blocks
    kind = np.where(blocks.time < volume.snapshot_time, Kind.MAPPED | Flag.SHARED, Kind.MAPPED)
    whole = RangeMap.of(source, target, blocks.number * unit, unit, blocks.data * unit, kind).coalesce()
    found = whole.lookup(within[0], within[1] - within[0])
    kinds = np.where(found.target < 0, np.uint8(Kind.UNALLOCATED), found.kind)
    rows = Rows(found.start + segment.start, found.length, found.target, found.target_length, kinds)
    return RangeMap.from_rows(source, target, rows)


def upon_origin(volume: RangeMap, segment: Segment, origin: str, size: int) -> Copies:
    """Let what a volume lacks be read from a device outside of the pool, of `size` bytes: a write goes elsewhere."""
    here = volume.slice(segment.start, segment.start + min(size, segment.length))
    holes = here.rows.take(here.target < 0)
    kind = np.full(len(holes.start), Kind.MAPPED | Flag.SHARED, dtype=np.uint8)
    below = Rows(holes.start, holes.length, holes.start - segment.start, holes.length, kind)
    beyond = volume.slice(segment.start + size, segment.start + segment.length)
    rows = Rows.joined([here.rows.take(here.target >= 0), beyond.rows])
    upper = RangeMap.from_rows(volume.source_space, volume.target_space, rows)
    return [(upper, 0), (RangeMap.from_rows(volume.source_space, origin, below), 0)]


def _no_sense(segment: Segment) -> MapError:
    return MapError(
        f"device mapper, {segment.target} {' '.join(segment.words)}"[:200] + ": its arguments make no sense"
    )
