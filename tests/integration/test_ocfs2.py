"""OCFS2 read from its disk, against debugfs.ocfs2, on volumes of mkfs.ocfs2. None is mounted: this kernel need not."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.imagematrix import qemu_img
from lab.livemaps import by_debugfs, stamped
from tests.commandline import Vio, vio
from tests.integration import disks

from vio.errors import MapError, UsageError
from vio.mappers.extent import RangeMap
from vio.mappers.hostfs import ocfs2
from vio.mappers.kind import Flag, Kind

__all__ = ["vio"]
MIB = 1 << 20


def volume(path: Path, block: str = "4K", cluster: str = "64K") -> Path:
    for tool in ("mkfs.ocfs2", "debugfs.ocfs2"):
        disks.require_tool(tool)
    disks.sparse_file(path, 300 * MIB)
    words = ["mkfs.ocfs2", "-q", "-F", "-M", "local", "--fs-features=local", "-N", "1"]
    subprocess.run([*words, "-C", cluster, "-b", block, str(path)], check=True, timeout=60, capture_output=True)
    return path


def by_reader(path: Path, what: str | int) -> list[tuple[int, int, int, int]]:
    with path.open("rb") as file:
        fd = file.fileno()
        geometry = ocfs2.read_geometry(fd)
        number = what if isinstance(what, int) else ocfs2.find_inode(fd, geometry, what)
        inode = ocfs2.read_inode(fd, geometry, number)
        return [(r.start, r.clusters, r.block, r.flags) for r in ocfs2.read_records(fd, geometry, inode)]


def mapped(path: Path, what: str | int) -> RangeMap:
    with path.open("rb") as file:
        return ocfs2.map_ocfs2_file(file.fileno(), what, "file", "dev")


@pytest.mark.parametrize(("block", "cluster"), [("4K", "64K"), ("4K", "4K"), ("2K", "32K"), ("512", "1M")])
def test_system_files_are_where_debugfs_has_them(block: str, cluster: str, tmp_path: Path) -> None:
    path = volume(tmp_path / "volume", block, cluster)
    for name in ("//journal:0000", "//heartbeat", "//slot_map"):
        expected = by_debugfs(path, name)
        assert expected, name
        assert by_reader(path, name) == expected


def plant_tree(path: Path, depth: int, leaves: int) -> list[tuple[int, int, int, int]]:
    """Put a tree of extents into the inode of the heartbeat file, its nodes into free space; give its records."""
    records = [(2 * i, 1 + i % 2, 1000 + 37 * i, (i % 3 == 1) + 2 * (i % 5 == 2)) for i in range(leaves)]
    plant(path, depth, records)
    return records


def plant(path: Path, depth: int, records: list[tuple[int, int, int, int]]) -> None:
    with path.open("r+b") as file:
        geometry = ocfs2.read_geometry(file.fileno())
        number = ocfs2.find_inode(file.fileno(), geometry, "//heartbeat")
        free = iter(range(40_000, 70_000))
        nodes = [
            (start, ocfs2.LEAF.pack(start, clusters, 0, flags, block)) for start, clusters, block, flags in records
        ]
        for level in range(depth):
            nodes = _parents(file.fileno(), nodes, level, free, geometry.block)
        head = ocfs2.LIST.pack(depth, 243, len(nodes))
        os.pwrite(file.fileno(), head + b"".join(node for _, node in nodes), number * geometry.block + ocfs2.INODE_LIST)


def _parents(
    fd: int, nodes: list[tuple[int, bytes]], level: int, free: Iterator[int], block: int
) -> list[tuple[int, bytes]]:
    parents = []
    for first in range(0, len(nodes), 252):
        group = nodes[first : first + 252]
        number = next(free)
        data = bytearray(block)
        data[:8] = ocfs2.EXTENT_MAGIC
        struct.pack_into("<Q", data, 32, number)
        ocfs2.LIST.pack_into(data, ocfs2.EXTENT_LIST, level, 252, len(group))
        content = b"".join(node for _, node in group)
        start = ocfs2.EXTENT_LIST + ocfs2.LIST.size
        data[start : start + len(content)] = content
        os.pwrite(fd, data, number * block)
        parents.append((group[0][0], ocfs2.INDEX.pack(group[0][0], 2 * len(group), number)))
    return parents


@pytest.mark.parametrize(("depth", "leaves"), [(0, 200), (1, 600), (2, 70_000 // 10), (3, 5000)])
def test_trees_of_any_depth_agree_with_debugfs(depth: int, leaves: int, tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    records = plant_tree(path, depth, leaves)
    assert by_reader(path, "//heartbeat") == records == by_debugfs(path, "//heartbeat")


def test_flags_holes_and_inline_data_are_kinds(tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    plant_tree(path, 0, 12)
    ranges = mapped(path, "//heartbeat")
    cluster = 64 << 10
    assert ranges.lookup(1 * cluster, 1).kind.tolist() == [Kind.UNALLOCATED]
    assert ranges.lookup(2 * cluster, 1).kind.tolist() == [Kind.MAPPED | Flag.UNWRITTEN]
    assert ranges.lookup(4 * cluster, 1).kind.tolist() == [Kind.MAPPED | Flag.SHARED]
    assert ranges.lookup(2 * cluster + 5, 1).target.tolist() == [1037 * 4096 + 5]
    root = mapped(path, "/lost+found")
    assert root.kind.tolist() == [Kind.INLINE]


def test_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    with pytest.raises(UsageError, match="/images/web"):
        mapped(path, "/images/web.qcow2")


def patched(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), data, offset)


@pytest.mark.parametrize(
    ("offset", "data", "field"),
    [
        (8192, b"OCFSV1", "superblock"),
        (8192 + 0xF8, b"\x0b", "s_blocksize_bits"),
        (8192 + 0xFC, b"\x30", "s_clustersize_bits"),
        (8192 + 0xF0, b"\xff" * 8, "inode"),
        (38 * 4096, b"GARBAGE!", "inode"),
        (38 * 4096 + 0x20, b"\xff" * 8, "i_size"),
        (38 * 4096 + 192, b"\x09\x00", "l_tree_depth"),
        (38 * 4096 + 196, b"\xff\xff", "l_next_free_rec"),
        (38 * 4096 + 192, b"\x01\x00", "e_blkno"),
        (38 * 4096 + 192 + 16 + 8, b"\xff" * 8, "e_blkno"),
    ],
)
def test_hostile_field_is_refused_by_name(offset: int, data: bytes, field: str, tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    patched(path, offset, data)
    with pytest.raises(MapError, match=field):
        mapped(path, "//heartbeat")


def test_tree_that_contains_itself_is_refused(tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    plant_tree(path, 2, 600)
    inside = ocfs2.EXTENT_LIST + ocfs2.LIST.size
    top = 40_003  # three leaves come first
    patched(path, top * 4096 + inside + ocfs2.RECORD_BYTES, ocfs2.INDEX.pack(504, 504, 40_000))
    with pytest.raises(MapError, match="twice"):
        mapped(path, "//heartbeat")


def planted_image(tmp_path: Path) -> Path:
    """Make a volume whose heartbeat file is a qcow2 image, its clusters of 64 KiB in places that do not follow."""
    image, path = tmp_path / "image.qcow2", volume(tmp_path / "volume")
    stamp = tmp_path / "stamp"
    stamp.write_bytes(stamped(MIB, MIB))
    qemu_img("create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-u", "-F", "raw", str(image), "8M")
    disks.run("qemu-io", "-t", "unsafe", "-c", f"write -s {stamp} 1M 1M", image)
    data, cluster = image.read_bytes(), 64 << 10
    records = [(n, 1, 30_000 + 16 * (n * 7 % 101), 0) for n in range(-(-len(data) // cluster))]
    plant(path, 1, records)
    with path.open("r+b") as file:
        fd = file.fileno()
        for n, _, block, _ in records:
            os.pwrite(fd, data[n * cluster : (n + 1) * cluster], block * 4096)
        number = ocfs2.find_inode(fd, ocfs2.read_geometry(fd), "//heartbeat")
        os.pwrite(fd, struct.pack("<Q", len(data)), number * 4096 + 0x20)
    return path


def test_image_on_a_volume_that_is_not_mounted_is_mapped_to_the_device(vio: Vio, tmp_path: Path) -> None:
    path = planted_image(tmp_path)
    code, out, _ = vio("map", "//heartbeat", "--on", str(path), "--guest-offset", "1M+1M", "--json")
    assert code == 0
    said = json.loads(out)
    assert [level["sort"] for level in said["levels"]][:3] == ["image", "file", "file"]
    assert said["levels"][1]["name"] == f"//heartbeat in {path}"
    assert "/etc/passwd is not opened" in said["notes"][0]
    with path.open("rb") as file:
        for piece in said["pieces"]:
            (place,) = (one for one in piece["places"] if one["name"] == str(path))
            found = os.pread(file.fileno(), piece["bytes"], place["offset"])
            assert found == stamped(piece["guest_offset"], piece["bytes"])
    assert sum(piece["bytes"] for piece in said["pieces"]) == MIB
    assert len(said["pieces"]) > 10


def test_what_is_wrong_with_a_volume_is_said_in_a_line(vio: Vio, tmp_path: Path) -> None:
    path = planted_image(tmp_path)
    for words, said in (
        (("//heartbeat", "--on", str(path), "--follow"), ""),
        (("/not/there", "--on", str(path)), "has no file /not/there"),
        (("/lost+found", "--on", str(path)), "no regular file"),
        (("/x", "--on", str(tmp_path / "stamp")), "no OCFS2 volume"),
        (("/x", "--on", str(tmp_path / "none")), "none"),
        (("--pid", "1", "--on", str(path)), "--on"),
    ):
        code, _, error = vio("map", *words)
        assert (code == 0) == (said == ""), words
        assert said in error
        assert len(error.splitlines()) <= 2
