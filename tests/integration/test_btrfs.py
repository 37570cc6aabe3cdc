"""btrfs on two and four devices: a pattern that says its own offset is read back at the device address of the map."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.integration import disks

from vio.errors import MapError
from vio.mappers.chain import TakenMaps, survey
from vio.mappers.hostfs import btrfs
from vio.mappers.images import ImageSource
from vio.mappers.kind import Kind, base_of
from vio.mappers.space import device_space

MIB = 1 << 20
SECTOR = 512
SIZE = 6 * MIB


def stamped(offset: int, length: int) -> bytes:
    offsets = np.arange(offset, offset + length, SECTOR, dtype="<u8")
    return np.repeat(offsets, SECTOR // 8).tobytes()


@pytest.fixture(
    params=[("single", 1), ("dup", 1), ("raid0", 2), ("raid1", 2), ("raid10", 4), ("raid0", 3), ("raid1c3", 3)]
)
def volume(request: pytest.FixtureRequest) -> Iterator[tuple[Path, dict[str, Path], str]]:
    profile, count = request.param
    disks.require_root("mkfs.btrfs", "btrfs")
    if "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no btrfs")
    with disks.work_dir() as directory, ExitStack() as stack:
        files = [disks.sparse_file(directory / f"disk{n}", 300 * MIB) for n in range(count)]
        loops = [stack.enter_context(disks.loop_device(file)) for file in files]
        disks.run("mkfs.btrfs", "-q", "-f", "-d", profile, "-m", "dup" if count == 1 else "raid1", *loops)
        for loop in loops:
            disks.run("btrfs", "device", "scan", loop)
        root = stack.enter_context(disks.mounted(loops[0], "btrfs"))
        yield root, {device_space(loop.stat().st_rdev): loop for loop in loops}, profile
        disks.run("sync", "-f", root)


def write_scattered(path: Path) -> None:
    """Fill a file in an order that makes many extents."""
    with path.open("wb") as file:
        for first in range(0, SIZE, 256 << 10):
            file.seek(SIZE - first - (256 << 10))
            file.write(stamped(file.tell(), 200 << 10))
            file.flush()
            os.fsync(file.fileno())


def check_places(taken: TakenMaps, devices: dict[str, Path]) -> dict[tuple[str, int], int]:
    """Read each place back from its device; return the bytes found there, by device and copy."""
    checked: dict[tuple[str, int], int] = {}
    for timed in taken.maps:
        if timed.map.target_space not in devices or not timed.map.source_space.startswith("file:"):
            continue
        with devices[timed.map.target_space].open("rb") as device:
            for start, length, target, kind in zip(
                timed.map.start, timed.map.length, timed.map.target, timed.map.kind, strict=True
            ):
                if target < 0 or base_of(np.array([kind]))[0] != Kind.MAPPED:
                    continue
                assert os.pread(device.fileno(), int(length), int(target)) == stamped(int(start), int(length))
                key = (timed.map.target_space, timed.copy)
                checked[key] = checked.get(key, 0) + int(length)
    return checked


def test_content_is_on_every_device_where_the_map_says(volume: tuple[Path, dict[str, Path], str]) -> None:
    root, devices, profile = volume
    # Fill some first: on a fresh device the file system's own addresses are the device's by chance.
    (root / "filler").write_bytes(os.urandom(20 * MIB))
    path = root / "raw.img"
    write_scattered(path)
    disks.run("sync", "-f", root)
    for loop in devices.values():
        disks.run("blockdev", "--flushbufs", loop)
    taken = survey(ImageSource(path, "raw"), 5)
    checked = check_places(taken, devices)
    copies = {"dup": 2, "raid1": 2, "raid10": 2, "raid1c3": 3}.get(profile, 1)
    written = (SIZE // (256 << 10)) * (200 << 10)
    assert sum(checked.values()) == copies * written
    assert {copy for _, copy in checked} == set(range(copies))
    if profile != "single":
        assert len({device for device, _ in checked}) == len(devices)


def test_compressed_and_inline_files_keep_their_kinds(volume: tuple[Path, dict[str, Path], str]) -> None:
    root, _, _ = volume
    (root / "small").write_bytes(b"x" * 100)
    packed = root / "packed"
    packed.touch()
    disks.run("btrfs", "property", "set", packed, "compression", "zstd")
    packed.write_bytes(b"compressible" * 100_000)
    disks.run("sync", "-f", root)
    small, big = survey(ImageSource(root / "small", "raw"), 5), survey(ImageSource(packed, "raw"), 5)
    assert [base_of(one.map.kind).tolist() for one in small.maps if one.map.source_space.startswith("file:")] == [
        [Kind.INLINE]
    ]
    kinds = {
        int(kind) for one in big.maps if one.map.source_space.startswith("file:") for kind in base_of(one.map.kind)
    }
    assert Kind.ENCODED in kinds


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [
        (0, 2**64 - 1, "chunk length"),
        (0, 0, "chunk length"),
        (16, 4096, "stripe_len"),
        (56, 2**64 - 1, "stripe offset"),
    ],
)
def test_hostile_chunk_is_refused_by_name(offset: int, value: int, what: str) -> None:
    item = bytearray(btrfs.CHUNK.pack(1 << 20, 2, 65536, 1, 0, 0, 4096, 1, 0) + btrfs.STRIPE_ITEM.pack(1, 0, bytes(16)))
    assert btrfs.parse_chunk(0, bytes(item)).stripes == ((1, 0),)
    item[offset : offset + 8] = value.to_bytes(8, "little")
    with pytest.raises(MapError, match=what):
        btrfs.parse_chunk(0, bytes(item))
    with pytest.raises(MapError, match=r"chunk|num_stripes"):
        btrfs.parse_chunk(0, bytes(item[:60]))
