"""FIEMAP on ext4 and xfs against filefrag: on a loop device, with and without a partition table."""

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.integration import disks

from vio.errors import MapError
from vio.mappers.device.tree import DeviceTree, device_stack
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.hostfs.fiemap import BATCH_EXTENTS, map_file, read_extents
from vio.mappers.kind import Flag, Kind, base_of

MIB = 1 << 20
BLOCK = 4096
UNIT = 512
"""What filefrag is told to count in: no larger than the smallest block of any file system here."""
ROW = re.compile(r"^\s*\d+:\s+(\d+)\.\.\s*(\d+):\s+(\d+)\.\.\s*(\d+):\s+(\d+):\s+(?:\d+:)?\s*(\S*)$")


@dataclass(frozen=True)
class Volume:
    root: Path
    fstype: str
    device: Path


@pytest.fixture(scope="module", params=["ext4", "xfs", "ext4-partition", "xfs-partition"])
def volume(request: pytest.FixtureRequest) -> Iterator[Volume]:
    disks.require_root("filefrag", "mkfs.ext4", "mkfs.xfs", "partx")
    fstype, _, partitioned = str(request.param).partition("-")
    with disks.work_dir() as directory:
        image = disks.sparse_file(directory / "disk.img", 512 * MIB)
        if partitioned:
            disks.write_mbr(image, [(3 * MIB, 100 * MIB), (103 * MIB, 400 * MIB)])
        with disks.loop_device(image, partscan=bool(partitioned)) as loop:
            device = Path(f"{loop}p2") if partitioned else loop
            disks.make_fs(device, fstype)
            with disks.mounted(device, fstype) as root:
                yield Volume(root, fstype, device)


def mapped(path: Path, sync: bool = False) -> RangeMap:
    with path.open("rb") as file:
        return map_file(file.fileno(), "file", "dev", sync)


def by_filefrag(path: Path) -> RangeMap:
    rows = []
    for line in disks.run("filefrag", "-v", f"-b{UNIT}", path).splitlines():
        match = ROW.match(line)
        if match:
            first, last, physical = (int(match[i]) for i in (1, 2, 3))
            words = match[6].split(",")
            unwritten = Flag.UNWRITTEN if "unwritten" in words else 0
            shared = Flag.SHARED if "shared" in words else 0
            kind = Kind.MAPPED | unwritten | shared
            rows.append((first * UNIT, (last - first + 1) * UNIT, physical * UNIT, kind))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4)
    start, length, place, kinds = columns.T
    return RangeMap.of("file", "dev", start, length, place, kinds.astype(np.uint8))


def assert_agrees(path: Path) -> RangeMap:
    """Compare all that has an address; what has none is a hole to filefrag."""
    ours = mapped(path)
    addressed = RangeMap.from_rows("file", "dev", ours.rows.take(ours.target != NOWHERE))
    theirs = by_filefrag(path)
    assert addressed.is_same(theirs)
    assert set(base_of(ours.kind[ours.target == NOWHERE]).tolist()) <= {Kind.UNALLOCATED}
    return ours


def write_at(path: Path, offsets: list[int], size: int = BLOCK) -> None:
    with path.open("wb") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(offset.to_bytes(8, "little") * (size // 8))
        file.flush()
        os.fsync(file.fileno())


def test_many_extents_in_several_batches(volume: Volume) -> None:
    path = volume.root / "fragmented"
    write_at(path, [i * 4 * BLOCK for i in range(3 * BATCH_EXTENTS)])
    ranges = assert_agrees(path)
    assert np.count_nonzero(ranges.target >= 0) >= 3 * BATCH_EXTENTS
    with path.open("rb") as file:
        assert len(read_extents(file.fileno())) >= 3 * BATCH_EXTENTS


def test_random_sparse_files(volume: Volume) -> None:
    seed = random.Random(7)
    for number in range(10):
        path = volume.root / f"sparse{number}"
        write_at(path, [seed.randrange(4096) * BLOCK for _ in range(seed.randrange(1, 200))])
        os.truncate(path, 20 * MIB + 3)
        ranges = assert_agrees(path)
        assert int(ranges.end[-1]) >= 20 * MIB + 3


def test_preallocated_extents_keep_address_and_flag(volume: Volume) -> None:
    path = volume.root / "preallocated"
    write_at(path, [0, 8 * BLOCK])
    disks.run("fallocate", "--offset", str(BLOCK), "--length", str(4 * BLOCK), path)
    disks.run("fallocate", "--keep-size", "--offset", str(MIB), "--length", str(MIB), path)
    ranges = assert_agrees(path)
    unwritten = (ranges.kind & Flag.UNWRITTEN) != 0
    assert int(ranges.length[unwritten].sum()) >= MIB + 4 * BLOCK
    assert int(ranges.end[-1]) > path.stat().st_size


def test_reflinked_extents_are_shared(volume: Volume) -> None:
    if volume.fstype != "xfs":
        pytest.skip("ext4 has no reflinks")
    path = volume.root / "origin"
    write_at(path, [i * BLOCK for i in range(64)])
    disks.run("cp", "--reflink=always", path, volume.root / "clone")
    ranges = assert_agrees(path)
    assert ranges.target.tolist() == mapped(volume.root / "clone").target.tolist()
    assert all(kind & Flag.SHARED for kind in ranges.kind.tolist())


def test_unflushed_data_has_no_address_until_synced(volume: Volume) -> None:
    path = volume.root / "dirty"
    path.write_bytes(b"x" * MIB)
    ranges = mapped(path)
    assert ranges.kind.tolist() == [Kind.DELALLOC]
    assert ranges.target.tolist() == [NOWHERE]
    synced = mapped(path, sync=True)
    assert base_of(synced.kind).tolist() == [Kind.MAPPED] * len(synced)
    assert_agrees(path)


def test_empty_file_and_file_of_one_hole(volume: Volume) -> None:
    empty = disks.sparse_file(volume.root / "empty", 0)
    hole = disks.sparse_file(volume.root / "hole", MIB)
    assert len(mapped(empty)) == 0
    assert mapped(hole).kind.tolist() == [Kind.UNALLOCATED]


def test_content_is_on_the_device_where_the_map_says(volume: Volume) -> None:
    path = volume.root / "witness"
    written = sorted(random.Random(11).sample(range(4096), 300))
    write_at(path, [block * BLOCK for block in written])
    ranges = assert_agrees(path)
    disks.run("sync", "--file-system", path)
    pieces = ranges.lookup([block * BLOCK for block in written], [BLOCK] * len(written))
    assert np.all(pieces.target >= 0)
    with volume.device.open("rb", buffering=0) as device:
        disks.run("blockdev", "--flushbufs", volume.device)
        for start, length, target in zip(pieces.start, pieces.length, pieces.target, strict=True):
            found = os.pread(device.fileno(), int(length), int(target))
            stamp = int(start) // BLOCK * BLOCK
            assert found == stamp.to_bytes(8, "little") * (int(length) // 8)
    assert int(pieces.length.sum()) == len(written) * BLOCK


def test_device_stack_is_seen_through_the_loop_device(volume: Volume) -> None:
    dev = volume.root.stat().st_dev
    names = [device.name for device in device_stack(dev)]
    loop = re.fullmatch(r"(loop\d+)(p\d+)?", volume.device.name)
    assert loop
    assert names[: len(names) - 1] == ([volume.device.name, loop[1]] if loop[2] else [loop[1]])
    assert DeviceTree().find(dev).name == volume.device.name


def test_file_system_without_fiemap_is_said() -> None:
    with Path("/proc/self/status").open("rb") as file, pytest.raises(MapError, match="no FIEMAP"):
        map_file(file.fileno(), "file", "dev")
