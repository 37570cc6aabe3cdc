"""A matrix of files on host file systems, each filled with what says its own offset, read back from the devices."""

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.livemaps import MIB, read_direct, stamped
from lab.scratch import scratch
from lab.targets import loop, mounted
from vio.mappers.chain import survey
from vio.mappers.images import ImageSource
from vio.mappers.kind import BASE_MASK, Flag, Kind
from vio.mappers.space import device_space

BLOCK = 4096
FILE_BLOCKS = 64
DISK_BYTES = 600 * MIB
SHAPES = {
    "ext4": "mkfs.ext4 -q -F",
    "ext4, blocks of 1 KiB": "mkfs.ext4 -q -F -b 1024",
    "ext4 without extents": "mkfs.ext4 -q -F -O ^extent,^64bit",
    "ext4 bigalloc": "mkfs.ext4 -q -F -O bigalloc -C 65536",
    "xfs": "mkfs.xfs -q -f",
    "xfs, 7 groups": "mkfs.xfs -q -f -d agcount=7",
    "btrfs": "mkfs.btrfs -q -f -d single -m dup",
    "btrfs raid0": "mkfs.btrfs -q -f -d raid0 -m raid1",
    "btrfs raid1": "mkfs.btrfs -q -f -d raid1 -m raid1",
    "btrfs raid10": "mkfs.btrfs -q -f -d raid10 -m raid1",
}
_DISKS = {"btrfs raid0": 3, "btrfs raid1": 2, "btrfs raid10": 4}


def check_files(each: int = 10) -> tuple[int, int, list[str]]:
    """Make so many files on each file system: count files and bytes read back, and name the files that differ."""
    count, size, different = 0, 0, list[str]()
    for shape, words in SHAPES.items():
        with _volume(words.split(), _DISKS.get(shape, 1)) as (directory, devices):
            files = [_make(directory / f"f{seed}", seed) for seed in range(each)]
            _run("sync", "-f", str(directory))
            for device in devices:
                _run("blockdev", "--flushbufs", device)
            for path, written in files:
                found = _read_back(path, devices)
                count += 1
                size += max(found, 0)
                if found != written * (2 if "raid1" in shape else 1):
                    different.append(f"{path.name} on {shape}")
    return count, size, different


@contextlib.contextmanager
def _volume(mkfs: list[str], disks: int) -> Iterator[tuple[Path, list[str]]]:
    with scratch("target") as folder, contextlib.ExitStack() as stack:
        devices = []
        for number in range(disks):
            file = folder / f"disk{number}"
            with file.open("wb") as backing:
                backing.truncate(DISK_BYTES)
            devices.append(stack.enter_context(loop(file, is_direct=False)))
        _run(*mkfs, *devices)
        kind = mkfs[0].removeprefix("mkfs.")
        if kind == "btrfs":
            _run("btrfs", "device", "scan", *devices)
        yield stack.enter_context(mounted(devices[0], folder.parent / f"{folder.name}-{kind}", kind)), devices


def _make(path: Path, seed: int) -> tuple[Path, int]:
    """Write a file in pieces, in random order, with holes and a stretch that is only allocated; count its bytes."""
    chance, written = random.Random(seed), 0
    starts = list(range(0, FILE_BLOCKS, 4))
    chance.shuffle(starts)
    with path.open("wb") as file:
        fd = file.fileno()
        os.posix_fallocate(fd, FILE_BLOCKS * BLOCK, 16 * BLOCK)  # where the file system cannot, zeroes are written
        for start in starts[: chance.randint(3, len(starts))]:
            length = chance.randint(1, 4) * BLOCK
            os.pwrite(fd, stamped(start * BLOCK, length), start * BLOCK)
            written += length
            os.fsync(fd)
    return path, written


def _read_back(path: Path, devices: list[str]) -> int:
    """Count the file's bytes that are where its maps lead; -1 if anything else is there."""
    known, found = {device_space(Path(device).stat().st_rdev): Path(device) for device in devices}, 0
    for timed in survey(ImageSource(path, "raw"), 1).maps:
        if timed.map.target_space not in known or not timed.map.source_space.startswith("file:"):
            continue
        rows = timed.map.slice(0, FILE_BLOCKS * BLOCK).rows
        columns = (rows.start, rows.length, rows.target, rows.kind)
        for start, length, target, kind in zip(*(column.tolist() for column in columns), strict=True):
            if target < 0 or kind & BASE_MASK != Kind.MAPPED or kind & Flag.UNWRITTEN:
                continue
            if read_direct(known[timed.map.target_space], target, length) != stamped(start, length):
                return -1
            found += length
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
