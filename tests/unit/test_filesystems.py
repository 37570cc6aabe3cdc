"""Which file systems the disks are on, and what that leaves of the points."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hosts import POINTS, a_host, a_subject

from vio.layer import Layer
from vio.mappers.device.tree import DeviceTree
from vio.recorder.disks import Disk
from vio.recorder.generate import Scope
from vio.recorder.kernelfn import KernelFunctions
from vio.recorder.plan import make_plan
from vio.recorder.probe import Point
from vio.recorder.procfs import HostRoots, Mount, OpenFile
from vio.recorder.scope import find_ground
from vio.recorder.storage import HostDevice, device_below

DEVICE = 259 << 20
KERNEL = KernelFunctions(has_kprobes=True, modules=frozenset({"ocfs2", "ext4", "xfs", "btrfs", "jbd2"}))


def chosen(kinds: Collection[str] | None, points: Sequence[Point] = POINTS) -> set[str]:
    scope = Scope(7, "/q", (DEVICE,), ((DEVICE, 131),), None if kinds is None else frozenset(kinds))
    host = replace(a_host(), kernel=KERNEL, tracefs=None)
    plan = make_plan(points, host, a_subject(), scope, (Layer.FS,))
    return {one.point.name for one in plan.chosen} | {one.name for one in plan.absent}


def test_only_the_file_systems_below_the_disks_are_opened() -> None:
    ocfs2 = chosen({"ocfs2"})
    assert {"ocfs2_write", "ocfs2_rw_lock", "fs_lock_write", "fs_writeback"} <= ocfs2
    assert not {name for name in ocfs2 if name.startswith(("ext4_", "xfs_", "btrfs_", "fs_iomap"))}
    assert {"xfs_ilock", "fs_iomap"} <= chosen({"xfs", "ocfs2"}) - {"ext4_map"}


def test_the_tracepoints_of_other_file_systems_are_not_missed() -> None:
    assert {"fsync_xfs", "dio", "jbd2_commit"} <= chosen({"xfs"})
    assert not {"fsync_ext4", "fsync_ext4_end", "fsync_ocfs2"} & chosen({"xfs"})


@pytest.mark.parametrize("source", ["--point fentry:ocfs2:ocfs2_rw_lock", "/home/me/my.bt"])
def test_what_the_user_asks_for_is_not_left_out(source: str) -> None:
    mine = [replace(point, source=source) for point in POINTS if point.name == "ocfs2_rw_lock"]
    assert chosen({"xfs"}, mine) == {"ocfs2_rw_lock"}


def test_all_are_opened_where_one_is_not_known() -> None:
    assert {"ocfs2_rw_lock", "ext4_map", "xfs_ilock", "btrfs_lock", "fs_iomap"} <= chosen(None)


@pytest.mark.parametrize(("fs_type", "kind"), [("ocfs2", "ocfs2"), ("ext3", "ext4"), ("btrfs", "btrfs")])
def test_a_files_events_have_the_number_of_its_superblock(fs_type: str, kind: str, tmp_path: Path) -> None:
    below = HostDevice("nvme0n1", 259, 0, fs_type, "/srv/vm", superblock=(0, 41))
    disk = Disk("a", ("a",), "", "raw", "file", "/srv/vm/a.raw", "none", "native", False)
    nothing = DeviceTree(tmp_path)  # not this machine's, which may have a device of that number
    ground = find_ground([replace(disk, device=(0, 44), inode=131, below=below)], nothing)
    assert ground.file_systems == {kind}
    assert [(file.kernel_dev, file.space) for file in ground.files] == [(41, "file:0:44:131")]


def test_a_file_on_no_known_mount_may_be_on_any_file_system() -> None:
    file = OpenFile(7, "/gone", (0, 44), 131, 4096, os.O_RDWR, 12, False, False)
    below = device_below(file, [], HostRoots())
    assert (below.fs_type, below.superblock) == ("", (0, 44))


def test_the_mount_tells_the_superblock() -> None:
    file = OpenFile(7, "/srv/vm/a.raw", (0, 44), 131, 4096, os.O_RDWR, 12, False, False)
    below = device_below(file, [Mount(12, (0, 41), "/srv/vm", "btrfs", "none")], HostRoots(sys=Path("/none")))
    assert (below.fs_type, below.superblock) == ("btrfs", (0, 41))
