"""NVMe multipath: paths by name in a made-up /sys as Linux 6.1 has it, and whose path a device is by its requests."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from vio.manifest import DeviceInfo
from vio.mappers.device.mapping import MULTIPATH, mapping_of
from vio.mappers.device.nvmepaths import path_names, unknown_numbers
from vio.mappers.device.tree import DeviceTree
from vio.recorder.disks import Disk
from vio.recorder.scope import MOST_HIDDEN, Ground, find_ground
from vio.reporter.events import Events
from vio.reporter.nvmepaths import PathNumbers

BIO, ISSUE = 1, 2
HEAD, PARTITION, OTHER = (259 << 20) + 1, (259 << 20) + 2, (259 << 20) + 9
PATHS = ((259 << 20) + 3, (259 << 20) + 4)
STRANGER = (259 << 20) + 7


def made_up(tmp_path: Path) -> DeviceTree:
    """Lay out namespace 1 of subsystem 0, to which controllers 0 and 1 lead, and a disk with one controller."""
    subsystem = tmp_path / "devices" / "virtual" / "nvme-subsystem" / "nvme-subsys0"
    head, single = subsystem / "nvme0n1", tmp_path / "devices" / "pci" / "nvme2" / "nvme2n1"
    for device, number, above in ((head, "259:1", subsystem), (single, "259:5", single.parent)):
        device.mkdir(parents=True)
        (device / "dev").write_text(f"{number}\n")
        (device / "size").write_text("4096\n")
        (device / "hidden").write_text("0\n")
        (device / "device").symlink_to(above)
    (tmp_path / "block").mkdir()
    (tmp_path / "dev" / "block").mkdir(parents=True)
    for path in (0, 1):
        hidden = tmp_path / "devices" / "pci" / f"nvme{path}" / f"nvme0c{path}n1"
        hidden.mkdir(parents=True)
        (hidden / "hidden").write_text("1\n")
        (subsystem / f"nvme{path}").symlink_to(hidden.parent)
        (tmp_path / "block" / hidden.name).symlink_to(hidden)
    for device, number in ((head, "259:1"), (single, "259:5")):
        (tmp_path / "block" / device.name).symlink_to(device)
        (tmp_path / "dev" / "block" / number).symlink_to(device)
    (tmp_path / "dev" / "block" / "8:0").symlink_to(single)
    return DeviceTree(tmp_path)


def test_a_namespace_is_shown_with_its_paths(tmp_path: Path) -> None:
    tree = made_up(tmp_path)
    head = tree.find(os.makedev(259, 1))
    assert (head.kind, head.paths) == ("nvme", ("nvme0c0n1", "nvme0c1n1"))
    assert head.about == "nvme by nvme0c0n1 and nvme0c1n1"
    assert mapping_of(head, tree).name == MULTIPATH
    assert tree.maps_down(head).maps == []
    single = tree.find(os.makedev(259, 5))
    assert (single.paths, single.about, mapping_of(single, tree).name) == ((), "", "")
    assert path_names(tmp_path / "block" / "sda") == ()


def test_hidden_devices_have_numbers_that_no_other_shows(tmp_path: Path) -> None:
    assert unknown_numbers(made_up(tmp_path).sys) == [0, 2, 3, 4, 6, 7]


def ground_of(tree: DeviceTree, minor: int) -> Ground:
    disk = Disk("a", ("a",), "", "raw", "host_device", "/dev/a", "none", "native", False)
    return find_ground([replace(disk, device=(259, minor), is_block_device=True)], tree)


def test_their_events_are_recorded_where_a_namespace_has_paths(tmp_path: Path) -> None:
    tree = made_up(tmp_path)
    head = ground_of(tree, 1)
    assert head.kernel_devs == (HEAD,)
    assert head.recorded_devs == (HEAD, *((259 << 20) + minor for minor in (0, 2, 3, 4, 6, 7)))
    assert (head.devices[0].mapping, head.notes) == (MULTIPATH, [])
    assert ground_of(tree, 5).recorded_devs == ((259 << 20) + 5,)
    (tree.sys / "dev" / "block" / f"259:{MOST_HIDDEN + 9}").symlink_to(tmp_path)
    many = ground_of(tree, 1)
    assert many.recorded_devs == (HEAD,)
    assert "paths of NVMe namespaces" in many.notes[0]


def devices() -> list[DeviceInfo]:
    return [
        DeviceInfo("nvme0n1", "nvme", 259, 1, HEAD, 1 << 30, mapping=MULTIPATH),
        DeviceInfo("nvme0n1p1", "partition", 259, 2, PARTITION, 1 << 29, parents=(HEAD,)),
        DeviceInfo("sda", "disk", 259, 9, OTHER, 1 << 30),
    ]


def events(*rows: tuple[int, int, int]) -> Events:
    """Make events of point, device and address, one after the other."""
    point, space, offset = (np.array(column) for column in zip(*rows, strict=True))
    zero = np.zeros(len(rows), dtype=np.int64)
    return Events(
        np.arange(len(rows)), point.astype(np.uint8), zero.astype(np.uint16), zero.astype(np.int32),
        space.astype(np.uint32), zero, offset.astype(np.int64), zero.astype(np.uint64), zero.astype(np.uint32),
    )  # fmt: skip


def renumbered(numbers: PathNumbers, *rows: tuple[int, int, int]) -> list[int]:
    return [int(one) for one in numbers.renumber(events(*rows)).space]


def test_requests_on_paths_are_their_namespaces() -> None:
    numbers = PathNumbers.of(devices(), {"bio_queue": BIO, "rq_issue": ISSUE})
    first = [(BIO, HEAD, 0), (ISSUE, PATHS[0], 0), (BIO, PARTITION, 4096), (ISSUE, PATHS[1], 4096), (BIO, OTHER, 512)]
    assert renumbered(numbers, *first) == [HEAD, HEAD, PARTITION, HEAD, OTHER]
    # what was learned is kept, and who is a stranger stays one
    later = [(ISSUE, PATHS[0], 1 << 20), (BIO, HEAD, 4096), (ISSUE, STRANGER, 4096), (ISSUE, STRANGER, 8192)]
    assert renumbered(numbers, *later, (ISSUE, STRANGER, 512)) == [HEAD, HEAD, STRANGER, STRANGER, STRANGER]


def test_without_such_a_namespace_nothing_is_changed() -> None:
    numbers = PathNumbers.of(devices()[2:], {"bio_queue": BIO, "rq_issue": ISSUE})
    some = events((BIO, OTHER, 0), (ISSUE, STRANGER, 0))
    assert numbers.renumber(some) is some
