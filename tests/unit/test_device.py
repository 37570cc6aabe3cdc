"""Device stacks, read from made-up /sys trees for what this machine has not: dm, md, nvme."""

import os
from pathlib import Path

import pytest

from vio.errors import MapError
from vio.mappers.device.tree import DeviceKind, DeviceTree, device_stack
from vio.mappers.space import device_of, device_space, file_space, guest_space


@pytest.fixture
def tree(tmp_path: Path) -> DeviceTree:
    (tmp_path / "dev" / "block").mkdir(parents=True)
    return DeviceTree(tmp_path, tmp_path / "nodes")


def add(tree: DeviceTree, path: str, dev: str, sectors: int, **files: str) -> Path:
    """Put a block device into the tree; a file named `a__b` is `a/b`, one without text a directory."""
    where = tree.sys / "devices" / path
    where.mkdir(parents=True)
    for name, text in ({"dev": dev, "size": str(sectors)} | files).items():
        file = where / name.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        if text:
            file.write_text(f"{text}\n")
        else:
            file.mkdir()
    (tree.sys / "dev" / "block" / dev).symlink_to(where)
    return where


def on(device: Path, *below: Path) -> None:
    (device / "slaves").mkdir(exist_ok=True)
    for one in below:
        (device / "slaves" / one.name).symlink_to(one)


def names(tree: DeviceTree, major: int, minor: int) -> list[tuple[str, DeviceKind]]:
    return [(device.name, device.kind) for device in device_stack(os.makedev(major, minor), tree)]


def test_partition_is_mapped_to_its_disk_in_bytes(tree: DeviceTree) -> None:
    add(tree, "nvme0n1", "259:0", 4_000_000)
    add(tree, "nvme0n1/nvme0n1p2", "259:2", 1_000_000, partition="2", start="2099200")
    assert names(tree, 259, 2) == [("nvme0n1p2", DeviceKind.PARTITION), ("nvme0n1", DeviceKind.NVME)]
    ((ranges, _),) = tree.maps_down(tree.find(os.makedev(259, 2))).maps
    assert (ranges.source_space, ranges.target_space) == ("dev:259:2", "dev:259:0")
    assert (ranges.length.tolist(), ranges.target.tolist()) == ([512_000_000], [2099200 * 512])
    assert tree.maps_down(tree.find(os.makedev(259, 0))).maps == []


def test_stacks_are_listed_through_dm_and_md_each_device_once(tree: DeviceTree) -> None:
    disks = [add(tree, f"sd{letter}", f"8:{16 * i}", 100, device="") for i, letter in enumerate("ab")]
    array = add(tree, "md0", "9:0", 200, md="")
    on(array, *disks)
    volume = add(tree, "dm-0", "253:0", 150, dm="")
    on(volume, array, disks[0])
    assert names(tree, 253, 0) == [
        ("dm-0", DeviceKind.DM),
        ("md0", DeviceKind.MD),
        ("sda", DeviceKind.DISK),
        ("sdb", DeviceKind.DISK),
    ]
    for major, what in ((253, "dm/name"), (9, "raid_disks")):
        with pytest.raises(MapError, match=what):
            tree.maps_down(tree.find(os.makedev(major, 0)))


def test_loop_device_is_mapped_to_its_file_at_its_offset(tree: DeviceTree, tmp_path: Path) -> None:
    file = tmp_path / "backing.img"
    file.write_bytes(b"")
    add(tree, "loop3", "7:3", 64, loop__backing_file=str(file), loop__offset="1048576")
    ((ranges, _),) = tree.maps_down(tree.find(os.makedev(7, 3))).maps
    status = file.stat()
    assert ranges.target_space == file_space(status.st_dev, status.st_ino)
    assert (ranges.length.tolist(), ranges.target.tolist()) == ([64 * 512], [1 << 20])
    assert tree.find(os.makedev(7, 3)).note == "its backing file is on no block device"


@pytest.mark.parametrize("backing", ["/nowhere/at/all (deleted)", "/dev/null", "/"])
def test_loop_device_whose_file_cannot_be_had_says_so(tree: DeviceTree, backing: str) -> None:
    add(tree, "loop3", "7:3", 64, loop__backing_file=backing, loop__offset="0")
    device = tree.find(os.makedev(7, 3))
    assert device.parents == ()
    assert "loop3" in device.note
    with pytest.raises(MapError, match="loop3"):
        tree.maps_down(device)


def test_loop_device_that_is_not_bound_says_so(tree: DeviceTree) -> None:
    add(tree, "loop4", "7:4", 0, loop="")
    assert tree.find(os.makedev(7, 4)).note == "loop4: it has no backing file"


def test_unknown_device_is_refused(tree: DeviceTree) -> None:
    with pytest.raises(MapError, match="no block device 0:40"):
        tree.find(os.makedev(0, 40))


def test_unreadable_numbers_are_refused(tree: DeviceTree) -> None:
    add(tree, "sda", "8:0", 100, device="")
    add(tree, "sda/sda1", "8:1", 50, partition="1", start="many")
    with pytest.raises(MapError, match="start"):
        tree.maps_down(tree.find(os.makedev(8, 1)))


def test_names_of_spaces() -> None:
    dev = os.makedev(254, 300)
    assert guest_space("disk0") == "guest:disk0"
    assert file_space(dev, 12) == "file:254:300:12"
    assert device_of(device_space(dev)) == dev
    assert device_of("file:254:300:12") is None
    assert device_of("dev:x:y") is None
