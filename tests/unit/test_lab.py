"""The lab's descriptions, and a recording from a lab host."""

from pathlib import Path

import pytest
from lab.disk import Aio, Cache, Format
from lab.hostmachine import Bus, HostDisk, Wire, make_disk
from lab.load import Load
from lab.scenario import Image, Scenario
from lab.volumes import FileSystem, Stack, find_disk
from lab.witness import examine

LAB = Path(__file__).parents[1] / "data" / "lab.vio"


def test_a_scenario_comes_through_json() -> None:
    images = (Image(), Image(Stack.RAID1, FileSystem.XFS, Format.RAW, Aio.THREADS, Cache.WRITEBACK, False, 1 << 20))
    scenario = Scenario(Load("x", ("true", "echo 'a b'")), images, ("--duration", "3s"))
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_commas_in_names_stay_names() -> None:
    arguments = HostDisk(Path("/a,b.img"), Bus.VIRTIO).qemu_arguments(3)
    assert arguments[1].startswith("file=/a,,b.img,if=none,id=virtio_blk3,")
    assert "addr.path=/x,,y" in Wire(Path("/x,y"), "52:54:00:00:00:01").qemu_arguments()[1]


def test_only_a_shared_disk_is_without_locks() -> None:
    assert "locking" not in " ".join(HostDisk(Path("/a")).qemu_arguments(0))
    shared = " ".join(HostDisk(Path("/a"), is_shared=True).qemu_arguments(0))
    assert "file.locking=off" in shared
    assert "share-rw=on" in shared


def test_a_disk_is_sparse(tmp_path: Path) -> None:
    disk = make_disk(1 << 30, tmp_path)
    assert (disk.stat().st_size, disk.stat().st_blocks) == (1 << 30, 0)


@pytest.mark.parametrize("stack", Stack)
def test_every_stack_can_be_made(stack: Stack) -> None:
    from lab import volumes

    assert stack in volumes._STACKS
    assert stack in volumes._MODULES


def test_the_recording_from_a_lab_host_has_every_io_of_its_guest(tmp_path: Path) -> None:
    findings = examine(LAB, tmp_path / "ios.parquet")
    assert findings.io_count == findings.exact_count == 102
    assert findings.ios["disk"].to_pylist().count(1) == 51
    assert (findings.losses, findings.disagree) == ({}, 0)


def test_a_namespace_of_two_paths_is_found_by_its_number_whatever_its_name(tmp_path: Path) -> None:
    for name, number, hidden in (("nvme0n1", 1, 0), ("nvme2n1", 5, 0), ("nvme2c1n1", 5, 1), ("nvme2c2n1", 5, 1)):
        disk = tmp_path / "sys" / "block" / name
        (disk / "device").mkdir(parents=True)
        (disk / "device" / "serial").write_text(f"{Bus.NVME.serial(number):20}\n")  # the kernel keeps the blanks
        (disk / "hidden").write_text(f"{hidden}\n")
    (tmp_path / "dev").mkdir()
    for name in ("nvme0n1", "vdb"):
        (tmp_path / "dev" / name).touch()
    assert find_disk(Bus.NVME, 1, tmp_path) == "/dev/nvme0n1"
    assert find_disk(Bus.NVME, 5, tmp_path) is None  # its device file is still to come
    (tmp_path / "dev" / "nvme2n1").touch()
    assert find_disk(Bus.NVME_PATHS, 5, tmp_path) == "/dev/nvme2n1"
    assert [find_disk(Bus.VIRTIO, number, tmp_path) for number in (0, 1)] == [None, "/dev/vdb"]
