"""OCFS2 read from its disk, against debugfs.ocfs2, on volumes of mkfs.ocfs2. None is mounted: this kernel need not."""

import json
import os
import struct
from pathlib import Path

import pytest
from lab.imagematrix import qemu_img
from lab.livemaps import by_debugfs, stamped
from lab.ocfs2files import by_reader, check_ocfs2, make_volume, plant
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
    return make_volume(path, block, cluster)


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


@pytest.mark.parametrize(("depth", "leaves"), [(0, 200), (1, 600), (2, 70_000 // 10), (3, 5000)])
def test_trees_of_any_depth_agree_with_debugfs(depth: int, leaves: int, tmp_path: Path) -> None:
    path = volume(tmp_path / "volume")
    records = plant_tree(path, depth, leaves)
    assert by_reader(path, "//heartbeat") == records == by_debugfs(path, "//heartbeat")


def test_records_and_content_of_many_files_are_as_debugfs_reads_them(tmp_path: Path) -> None:
    volume(tmp_path / "volume").unlink()
    counted = check_ocfs2(tmp_path, 4)
    assert counted.different == ()
    assert (counted.files, counted.size > 50 * MIB) == (112, True)


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
    top = 150 * MIB // 4096 + 3  # three leaves come first
    patched(path, top * 4096 + inside + ocfs2.RECORD_BYTES, ocfs2.INDEX.pack(504, 504, top - 3))
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
