"""NVMe multipath in a made-up /sys and /proc/diskstats, as Linux 6.1 has them for two controllers of one subsystem."""

import os
from dataclasses import replace
from pathlib import Path

from vio.mappers.device.mapping import MULTIPATH, mapping_of
from vio.mappers.device.nvmepaths import path_names
from vio.mappers.device.tree import DeviceTree, device_stack
from vio.recorder.disks import Disk
from vio.recorder.scope import find_ground
from vio.reporter.steps import below_of, has_steps

HEAD, PATHS = (259 << 20) + 2, ((259 << 20) + 3, (259 << 20) + 1)
DISKSTATS = """\
 259       0 nvme0n1 3 0 24 15 0 0 0 0 0 16 15 0 0 0 0 0 0
 259       1 nvme2c2n1 3 0 24 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 259       2 nvme2n1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 259       3 nvme2c1n1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
"""


def made_up(tmp_path: Path, diskstats: str = DISKSTATS) -> DeviceTree:
    """Lay out namespace 1 of subsystem 2, to which controllers 1 and 2 lead, and a disk with one controller."""
    subsystem = tmp_path / "devices" / "virtual" / "nvme-subsystem" / "nvme-subsys2"
    places = {
        "nvme2n1": (subsystem / "nvme2n1", "259:2", subsystem),
        "nvme0n1": (tmp_path / "devices" / "nvme0" / "nvme0n1", "259:0", tmp_path / "devices" / "nvme0"),
        "nvme2c1n1": (tmp_path / "devices" / "nvme1" / "nvme2c1n1", "", tmp_path / "devices" / "nvme1"),
        "nvme2c2n1": (tmp_path / "devices" / "nvme2" / "nvme2c2n1", "", tmp_path / "devices" / "nvme2"),
    }
    (tmp_path / "block").mkdir()
    (tmp_path / "dev" / "block").mkdir(parents=True)
    for name, (device, number, above) in places.items():
        (device / "slaves").mkdir(parents=True)
        (device / "size").write_text("4096\n")
        (device / "hidden").write_text("0\n" if number else "1\n")
        (device / "device").symlink_to(above)
        (tmp_path / "block" / name).symlink_to(device)
        if number:
            (device / "dev").write_text(f"{number}\n")
            (tmp_path / "dev" / "block" / number).symlink_to(device)
    for controller in ("nvme1", "nvme2"):
        (subsystem / controller).symlink_to(tmp_path / "devices" / controller)
    (tmp_path / "diskstats").write_text(diskstats)
    return DeviceTree(tmp_path, diskstats=tmp_path / "diskstats")


def test_a_namespace_leads_to_its_paths(tmp_path: Path) -> None:
    tree = made_up(tmp_path)
    stack = device_stack(os.makedev(259, 2), tree)
    assert [(one.name, one.kind, one.about) for one in stack] == [
        ("nvme2n1", "nvme", ""),
        ("nvme2c1n1", "nvme", "nvme path, hidden"),
        ("nvme2c2n1", "nvme", "nvme path, hidden"),
    ]
    assert (stack[0].note, mapping_of(stack[0], tree).name, mapping_of(stack[1], tree).name) == ("", MULTIPATH, "")
    found = [(one.target_space, one.target.tolist(), copy) for one, copy in tree.maps_down(stack[0]).maps]
    assert found == [("dev:259:3", [0], 0), ("dev:259:1", [0], 1)]
    assert tree.maps_down(stack[1]).maps == []


def test_a_disk_with_one_controller_is_the_lowest(tmp_path: Path) -> None:
    tree = made_up(tmp_path)
    (single,) = device_stack(os.makedev(259, 0), tree)
    assert (single.parents, mapping_of(single, tree).name, tree.maps_down(single).maps) == ((), "", [])
    assert path_names(tmp_path / "block" / "sda") == ()


def test_paths_whose_numbers_are_not_told_are_said(tmp_path: Path) -> None:
    tree = made_up(tmp_path, "   0       0 nvme2c1n1 0 0\nnonsense\n")
    (head,) = device_stack(os.makedev(259, 2), tree)
    assert (head.parents, head.note) == ((), f"{tmp_path}/diskstats has not all of its paths")
    (tmp_path / "diskstats").unlink()
    assert device_stack(os.makedev(259, 2), tree)[0].parents == ()


def test_paths_are_recorded_and_lie_below_their_namespace(tmp_path: Path) -> None:
    disk = Disk("a", ("a",), "", "raw", "host_device", "/dev/a", "none", "native", False)
    ground = find_ground([replace(disk, device=(259, 2), is_block_device=True)], made_up(tmp_path))
    assert ground.kernel_devs == (HEAD, *PATHS)
    assert ground.devices[0].parents == PATHS
    assert below_of(ground.devices).parents == {HEAD: PATHS}
    assert has_steps(ground.devices)
    assert not has_steps(ground.devices[1:])
