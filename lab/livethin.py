"""Thin volumes on a lab host, read back: one provisioned in random order, its snapshot, and what was written since.

Inside the host it is `python -m lab.livethin ANSWER`; the answer is JSON, a `Found` for each of the two volumes.
"""

import json
import os
import random
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lab.livemaps import KIB, read_direct, stamped, write_direct
from lab.volumes import THIN_META, THIN_POOL, THIN_VOLUME, Stack, mapped, run, stacked
from vio.mappers.address import trace
from vio.mappers.chain import survey
from vio.mappers.device.crc32c import Bytes, crc32c
from vio.mappers.device.thin import opened_metadata
from vio.mappers.device.thinmeta import SUPERBLOCK_XOR, Blocks, Read, read_volume
from vio.mappers.images import ImageSource
from vio.mappers.kind import BASE_MASK, Flag, Ints, Kind
from vio.mappers.timed import MapSet

UNIT = 64 * KIB
UNITS = 200
FIRST = tuple(number for number in range(UNITS) if number % 4)
"""Blocks that are written before the snapshot."""
LATER = tuple(number for number in range(UNITS) if number % 6 == 0)
"""Blocks that are written after it: some anew, some for the first time."""
_LATER_STAMP = 1 << 40
_ROW = re.compile(
    r'<(?:single_mapping origin_block="(\d+)" data_block="(\d+)"|'
    r'range_mapping origin_begin="(\d+)" data_begin="(\d+)" length="(\d+)") time="(\d+)"'
)


@dataclass(slots=True)
class Found:
    """What was read back of one volume: blocks at their address, those that said something else, holes, shared ones.

    `witness` are the blocks of which thin_dump says the same, `held` those that the metadata snapshot has alike.
    """

    volume: int
    pieces: int = 0
    different: int = 0
    holes: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    blocks: int = 0
    witness: int = 0
    held: int = 0
    notes: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Make the volumes, look at both, and write the answer."""
    with stacked(Stack.THIN) as (device, disks):
        _write(device, FIRST, 0)
        run("dmsetup", "suspend", THIN_VOLUME)
        run("dmsetup", "message", THIN_POOL, "0", "create_snap 1 0")
        run("dmsetup", "resume", THIN_VOLUME)
        _write(device, LATER, _LATER_STAMP)
        old = dict.fromkeys(FIRST, 0)
        with mapped("lab-snapshot", f"0 {UNITS * UNIT // 512} thin /dev/mapper/{THIN_POOL} 1") as snapshot:
            found = [
                _look(Found(0), device, disks[0], old | dict.fromkeys(LATER, _LATER_STAMP)),
                _look(Found(1), snapshot, disks[0], old),
            ]
            _ask_witness(found)
    Path(arguments[0]).write_text(json.dumps([asdict(one) for one in found]))
    return 0


def _write(device: str, numbers: Iterable[int], stamp: int) -> None:
    """Write blocks in random order, each of its sectors saying its offset and `stamp`."""
    order = list(numbers)
    random.Random(1).shuffle(order)
    for number in order:
        write_direct(Path(device), number * UNIT, stamped(number * UNIT + stamp, UNIT))
    with Path(device).open("rb+") as file:
        os.fsync(file.fileno())


def _look(found: Found, device: str, disk: str, stamps: dict[int, int]) -> Found:
    """Map a volume down to the disk, and read each block there."""
    taken = survey(ImageSource(Path(device), "raw"), 1)
    found.notes = taken.notes
    trail = trace(MapSet(tuple(taken.maps)), 1, "guest:disk0", np.arange(UNITS) * UNIT, UNIT)
    ((_, lowest),) = list(trail.places.items())[-1:]
    columns = (trail.start, trail.length, trail.kind, lowest)
    for start, length, kind, target in zip(*(column.tolist() for column in columns), strict=True):
        number = start // UNIT
        if number not in stamps:
            if kind == Kind.UNALLOCATED and target < 0:
                found.holes.append(number)
            continue
        found.pieces += 1
        is_there = kind & BASE_MASK == Kind.MAPPED and target >= 0
        wanted = stamped(start + stamps[number], length)
        found.different += not is_there or read_direct(Path(disk), target, length) != wanted
        if kind & Flag.SHARED:
            found.shared.append(number)
    return found


def _ask_witness(found: list[Found]) -> None:
    run("dmsetup", "message", THIN_POOL, "0", "reserve_metadata_snap")
    meta = Path(f"/dev/mapper/{THIN_META}")
    with opened_metadata(meta, meta.stat().st_rdev) as read:
        for one in found:
            text = run("thin_dump", "--metadata-snap", "--dev-id", str(one.volume), str(meta))
            theirs = set(blocks_of_dump(text))
            whole = (np.zeros(1, dtype=np.int64), np.array([1 << 40]))
            ours = set(_rows(read_volume(read, one.volume, UNIT, whole).blocks))
            held = read_volume(_restless(read), one.volume, UNIT, whole)
            one.blocks, one.witness = len(ours | theirs), len(ours & theirs)
            one.held = len(ours & set(_rows(held.blocks))) if held.is_held else 0
    run("dmsetup", "message", THIN_POOL, "0", "release_metadata_snap")


def _restless(read: Read) -> Read:
    """Let the superblock seem to be another one at each reading, so that the metadata snapshot has to be taken."""
    count = 0

    def read_changed(numbers: Ints) -> Bytes:
        nonlocal count
        blocks = read(numbers)
        if numbers.tolist() == [0]:
            count += 1
            blocks[0, 16] = count  # its UUID, which nobody uses
            blocks[0, :4] = (crc32c(blocks[:, 4:]) ^ np.uint32(SUPERBLOCK_XOR)).view(np.uint8)
        return blocks

    return read_changed


def _rows(blocks: Blocks) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in blocks), strict=True))


def blocks_of_dump(text: str) -> list[tuple[int, int, int]]:
    """Give the blocks of which thin_dump tells: where in the volume, where in the pool, and its time."""
    found = list[tuple[int, int, int]]()
    for single, data, begin, first, length, time in _ROW.findall(text):
        place, target = int(single or begin), int(data or first)
        found += [(place + ahead, target + ahead, int(time)) for ahead in range(int(length or 1))]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
