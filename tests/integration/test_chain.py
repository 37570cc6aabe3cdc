"""A guest disk followed down to the machine's disk, where each sector says its own guest offset."""

import json
import mmap
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.commandline import Vio, vio
from tests.integration import disks

from vio.mappers.chain import TakenMaps, survey, to_lowest
from vio.mappers.device.tree import device_stack
from vio.mappers.extent import RangeMap
from vio.mappers.images import ImageSource, trust_names
from vio.mappers.kind import Kind
from vio.mappers.space import device_space
from vio.mappers.timed import MapSet

__all__ = ["vio"]
MIB = 1 << 20
SECTOR = 512
SIZE = 24 * MIB


@dataclass(frozen=True)
class Host:
    """A file system on a partition of a loop device, whose file is on a file system on a loop device.

    The outer loop device stands for the machine's disk, which tests may not be allowed to read.
    """

    root: Path
    backing: Path
    partition: Path
    loop: Path
    outer: Path


@pytest.fixture(scope="module", params=["ext4", "xfs", "ext4-4096", "xfs-4096"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    disks.require_root("mkfs.ext4", "mkfs.xfs", "partx", "qemu-img")
    fstype, _, sector = str(request.param).partition("-")
    sector_bytes = int(sector or SECTOR)
    with disks.work_dir() as directory, ExitStack() as stack:
        disk = disks.sparse_file(directory / "outer.img", 768 * MIB)
        outer = stack.enter_context(disks.loop_device(disk, sector_bytes=sector_bytes))
        disks.make_fs(outer, "ext4")
        below = stack.enter_context(disks.mounted(outer, "ext4"))
        backing = disks.sparse_file(below / "disk.img", 512 * MIB)
        disks.write_mbr(backing, [(MIB, 64 * MIB), (65 * MIB, 440 * MIB)], sector_bytes)
        loop = stack.enter_context(disks.loop_device(backing, partscan=True, sector_bytes=sector_bytes))
        partition = Path(f"{loop}p2")
        disks.make_fs(partition, fstype)
        root = stack.enter_context(disks.mounted(partition, fstype))
        for device in (partition, loop, outer):
            assert disks.run("blockdev", "--getss", device) == f"{sector_bytes}\n"
        yield Host(root, backing, partition, loop, outer)


def stamped(offset: int, length: int) -> bytes:
    """Make sectors that each say, all through, at which guest offset they are."""
    offsets = np.arange(offset, offset + length, SECTOR, dtype="<u8")
    return np.repeat(offsets, SECTOR // 8).tobytes()


def write_scattered(path: Path) -> list[tuple[int, int]]:
    """Write a raw disk of stamps with holes, in pieces flushed one by one and between those of another file."""
    chance = random.Random(3)
    pieces = [(start, 64 << 10) for start in range(0, SIZE, 96 << 10) if start + (64 << 10) <= SIZE]
    chance.shuffle(pieces)
    with path.open("wb") as file, path.with_suffix(".other").open("wb") as other:
        file.truncate(SIZE)
        for start, length in pieces:
            os.pwrite(file.fileno(), stamped(start, length), start)
            os.fdatasync(file.fileno())
            other.write(bytes(chance.randrange(1, 9) * 4096))
            other.flush()
            os.fdatasync(other.fileno())
    return pieces


def settle(host: Host) -> None:
    disks.run("sync", "--file-system", host.root)
    disks.run("sync", host.backing)
    disks.run("sync", "--file-system", host.backing)


def read_direct(device: Path, offset: int, length: int) -> bytes:
    """Read past the page cache, which may hold what the device had before."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as buffer:
            assert os.preadv(fd, [buffer], offset) == length
            return buffer[:]
    finally:
        os.close(fd)


def assert_stamps(node: Path, ranges: RangeMap, pieces: list[tuple[int, int]]) -> None:
    """Read the device at the address of every piece: it must hold the stamp of that guest offset."""
    found = ranges.lookup([piece[0] for piece in pieces], [piece[1] for piece in pieces])
    assert set(found.kind.tolist()) == {Kind.MAPPED}
    for start, length, target in zip(found.start, found.length, found.target, strict=True):
        assert read_direct(node, int(target), int(length)) == stamped(int(start), int(length))
    assert int(found.length.sum()) == sum(length for _, length in pieces)


def spaces_of(taken: TakenMaps) -> list[str]:
    """List the sorts of the spaces on the way down; beside it are an image's own tables."""
    way = [timed.map for timed in taken.maps if not timed.map.source_space.startswith("tables:")]
    return [ranges.target_space.partition(":")[0] for ranges in way]


def make_qcow2(host: Host, raw: Path, *options: str) -> Path:
    image = host.root / "image.qcow2"
    image.unlink(missing_ok=True)
    disks.run("qemu-img", "convert", "-W", "-f", "raw", "-O", "qcow2", *options, raw, image)
    settle(host)
    return image


def assert_found_on_every_device(host: Host, taken: TakenMaps, pieces: list[tuple[int, int]]) -> None:
    assert taken.notes == []
    assert spaces_of(taken) == ["file", "dev", "dev", "file", "dev", "file", "dev"]
    maps = MapSet(tuple(taken.maps))
    reached = {ranges.target_space: ranges for ranges in maps.reach("guest:disk0", 5)}
    for node in (host.partition, host.loop, host.outer):
        assert_stamps(node, reached[device_space(node.stat().st_rdev)], pieces)


def test_raw_disk_is_found_on_every_device(host: Host) -> None:
    raw = host.root / "raw.img"
    pieces = write_scattered(raw)
    settle(host)
    taken = survey(ImageSource(raw, "raw"), 5)
    assert_found_on_every_device(host, taken, pieces)
    assert len(taken.maps[1].map) > 100


@pytest.mark.parametrize("options", [(), ("-o", "cluster_size=4k"), ("-o", "extended_l2=on")])
def test_qcow2_disk_is_found_on_every_device(host: Host, options: tuple[str, ...]) -> None:
    raw = host.root / "raw.img"
    pieces = write_scattered(raw)
    image = make_qcow2(host, raw, *options)
    assert_found_on_every_device(host, survey(ImageSource(image, "qcow2"), 5), pieces)


def test_what_vio_map_prints_is_where_the_bytes_are(vio: Vio, host: Host) -> None:
    raw = host.root / "raw.img"
    pieces = write_scattered(raw)
    image = make_qcow2(host, raw)
    code, out, _ = vio("map", str(image), "--guest-offset", f"0+{SIZE}", "--json")
    assert code == 0
    found = 0
    for piece in json.loads(out)["pieces"]:
        at = {Path(place["name"]).name: place["offset"] for place in piece["places"]}
        if host.outer.name not in at or piece["kind"] != "MAPPED":
            continue
        start, length = piece["guest_offset"], piece["bytes"]
        written = [max(a, start) for a, n in pieces if a < start + length and start < a + n]
        for node in (host.partition, host.loop, host.outer):
            said = read_direct(node, at[node.name], length)
            for a in written:
                end = min(start + length, a + (64 << 10) - a % (96 << 10))
                assert said[a - start : end - start] == stamped(a, end - a)
        found += sum(min(start + length, a + (64 << 10) - a % (96 << 10)) - a for a in written)
    assert found == sum(length for _, length in pieces)


def test_lowest_is_the_machines_disk(host: Host) -> None:
    raw = host.root / "raw.img"
    write_scattered(raw)
    settle(host)
    (lowest,) = to_lowest(survey(ImageSource(raw, "raw"), 5))
    under = host.backing.stat().st_dev
    stack = device_stack(host.root.stat().st_dev)
    assert [device.name for device in stack[:3]] == [host.partition.name, host.loop.name, host.outer.name]
    assert lowest.target_space == device_space(stack[-1].dev)
    assert under == host.outer.stat().st_rdev


def test_maps_know_their_time_and_renew_when_the_file_changes(host: Host) -> None:
    path = disks.sparse_file(host.root / "grows", MIB)
    before = survey(ImageSource(path, "raw"), 10)
    with path.open("r+b") as file:
        file.write(stamped(0, 65536))
        os.fsync(file.fileno())
    after = survey(ImageSource(path, "raw"), 20)
    maps = MapSet(tuple(before.maps)).renew(after.maps)
    (early,), (late,) = maps.lowest("guest:disk0", 15), maps.lowest("guest:disk0", 25)
    assert early.lookup([0], [4096]).kind.tolist() == [Kind.UNALLOCATED]
    assert late.lookup([0], [4096]).kind.tolist() == [Kind.MAPPED]


def test_image_on_a_block_device_starts_at_the_device(host: Host) -> None:
    taken = survey(ImageSource(host.loop, "raw"), 5)
    assert taken.notes == []
    assert taken.maps[0].map.target_space == device_space(host.loop.stat().st_rdev)
    assert taken.maps[0].map.length.tolist() == [512 * MIB]


def test_replaced_backing_file_is_not_taken_for_the_real_one() -> None:
    disks.require_root()
    with disks.work_dir() as directory:
        backing = disks.sparse_file(directory / "disk.img", 4 * MIB)
        with disks.loop_device(backing) as loop:
            backing.rename(directory / "moved.img")
            taken = survey(ImageSource(loop, "raw"), 5)
            assert taken.notes == []  # the kernel gives the new name
            disks.sparse_file(directory / "other.img", 4 * MIB).rename(directory / "moved.img")
            taken = survey(ImageSource(loop, "raw"), 5)
            assert len(taken.maps) == 1
            assert "loop" in taken.notes[0]


def test_what_cannot_be_mapped_is_a_note(tmp_path: Path) -> None:
    image = disks.sparse_file(tmp_path / "image", MIB)
    assert "vmdk" in survey(ImageSource(image, "vmdk"), 5).notes[0]
    assert "no qcow2" in survey(ImageSource(image, "qcow2"), 5).notes[0]
    assert "absent" in survey(ImageSource(tmp_path / "absent", "raw"), 5).notes[0]
    memory = os.memfd_create("vio-test")
    try:
        os.truncate(memory, MIB)
        taken = survey(ImageSource(memory, "raw"), 5)
        assert [timed.map.source_space for timed in taken.maps] == ["guest:disk0"]
        assert "tmpfs is not mapped yet" in taken.notes[0]
    finally:
        os.close(memory)


def test_data_file_is_followed_only_if_given(tmp_path: Path) -> None:
    disks.require_root("qemu-img")
    image, data = tmp_path / "image", tmp_path / "data"
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={data}", image, "1M")
    taken = survey(ImageSource(image, "qcow2"), 5)
    assert taken.maps == []
    assert "is not opened only because an image names it" in taken.notes[0]
    given = survey(ImageSource(image, "qcow2", trust_names), 5)
    status = data.stat()
    assert given.maps[0].map.target_space.endswith(f":{status.st_ino}")
