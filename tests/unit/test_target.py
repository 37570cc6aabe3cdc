"""Targets found in a made-up /proc; test_target_live.py does the same with real processes."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from vio.errors import ExitCode, TargetError, UsageError
from vio.layer import Layer
from vio.recorder.listing import targets_json, targets_notes, targets_table
from vio.recorder.procfs import HostRoots, read_cpu_s
from vio.recorder.target import Target, find_target, is_running, list_targets, select_disks

ProcMaker = Callable[..., Path]
VM = ("qemu-system-x86_64", "-name", "guest=web", "-drive")


@pytest.fixture
def roots(tmp_path: Path) -> HostRoots:
    made = HostRoots(tmp_path / "proc", tmp_path / "sys")
    (made.proc / "self").mkdir(parents=True)
    (made.proc / "not-a-pid").mkdir()
    (made.sys / "dev" / "block").mkdir(parents=True)
    return made


@pytest.fixture
def make_process(roots: HostRoots, tmp_path: Path) -> ProcMaker:
    def make(
        pid: int,
        argv: Sequence[str],
        files: Mapping[int, tuple[Path, int]] | None = None,
        exe: str = "",
        comm: str = "qemu-system-x86",
    ) -> Path:
        place = roots.process(pid)
        for directory in ("fd", "fdinfo", "net", f"task/{pid}", f"task/{pid + 1}"):
            (place / directory).mkdir(parents=True)
        (place / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in argv))
        (place / "comm").write_text(f"{comm}\n")
        (place / "stat").write_text(f"{pid} (a) b) S " + " ".join(["0"] * 18) + " 4200 0 0\n")
        (place / "exe").symlink_to(exe or f"/usr/bin/{argv[0]}")
        (place / "root").symlink_to("/")
        (place / "cwd").symlink_to(tmp_path)
        (place / f"task/{pid}/comm").write_text(f"{comm}\n")
        (place / f"task/{pid + 1}/comm").write_text("IO io1\n")
        (place / "net/unix").write_text("Num RefCount Protocol Flags Type St Inode Path\n")
        (place / "mountinfo").write_text("7 1 8:1 / /images\\040here rw - xfs /dev/sda1 rw\n")
        for fd, (path, flags) in (files or {}).items():
            (place / "fd" / str(fd)).symlink_to(path)
            (place / "fdinfo" / str(fd)).write_text(f"pos:\t0\nflags:\t{flags:o}\nmnt_id:\t7\n")
        return place

    return make


def an_image(tmp_path: Path, name: str = "web.img", data: bytes = bytes(4096)) -> Path:
    image = tmp_path / name
    image.write_bytes(data)
    return image


def test_a_disk_is_matched_with_its_open_file(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    make_process(
        10,
        [*VM, f"file={image},if=virtio,cache=none,format=raw,aio=native"],
        {3: (Path("/dev/null"), 0), 12: (image, os.O_RDWR | os.O_DIRECT)},
    )
    target = find_target("web", roots=roots)
    (disk,) = target.disks
    assert (target.pid, target.name, target.kind, target.started_ns) == (10, "web", "system", 42_000_000_000)
    assert (disk.name, disk.model, disk.format, disk.path) == ("virtio0", "virtio-blk", "raw", str(image))
    assert (disk.fd, disk.inode, disk.file_size_bytes) == (12, image.stat().st_ino, 4096)
    assert (disk.cache, disk.is_direct, disk.aio, disk.is_read_only) == ("none", True, "native", False)
    assert disk.followable
    assert disk.seen_layers == (Layer.QEMU_DEVICE, Layer.QEMU_BLOCK)
    assert disk.below
    assert (disk.below.fs_type, disk.below.mount_point) == ("xfs", "/images here")


def test_threads_and_their_roles(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["qemu-system-x86_64"])
    threads = find_target(pid=10, roots=roots).threads
    assert [(thread.tid, thread.role) for thread in threads] == [(10, "main"), (11, "iothread:io1")]


def test_the_open_file_wins_over_the_cache_mode(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    make_process(10, [*VM, f"file={image},if=virtio,cache=none,format=raw"], {12: (image, os.O_RDWR)})
    (disk,) = find_target(pid=10, roots=roots).disks
    assert (disk.cache, disk.is_direct) == ("writeback", False)
    assert "O_DIRECT is off" in disk.notes[0]


def test_a_file_that_is_not_open_is_not_followed(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    make_process(10, [*VM, f"file={image},if=virtio"])
    target = find_target(pid=10, roots=roots)
    assert "does not have this file open" in target.disks[0].why_not
    with pytest.raises(TargetError, match="no disk that can be followed") as caught:
        select_disks(target, [])
    assert "virtio0: the process does not have" in caught.value.hint


def test_of_two_descriptors_the_writable_one_is_taken(
    roots: HostRoots, make_process: ProcMaker, tmp_path: Path
) -> None:
    image = an_image(tmp_path)
    make_process(10, [*VM, f"file={image},if=virtio,format=raw"], {9: (image, os.O_RDONLY), 12: (image, os.O_RDWR)})
    (disk,) = find_target(pid=10, roots=roots).disks
    assert (disk.fd, disk.fds) == (12, (9, 12))


def test_a_relative_path_is_the_process_own(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    image = an_image(tmp_path, "a,b.img")
    make_process(10, [*VM, "file=a,,b.img,if=virtio,format=raw"], {5: (image, os.O_RDWR)})
    assert find_target(pid=10, roots=roots).disks[0].fd == 5


@pytest.mark.parametrize(("data", "expected"), [(b"QFI\xfb" + bytes(100), "qcow2"), (bytes(100), "raw"), (b"", "raw")])
def test_format_is_probed_where_none_was_said(
    roots: HostRoots, make_process: ProcMaker, tmp_path: Path, data: bytes, expected: str
) -> None:
    image = an_image(tmp_path, data=data)
    make_process(10, [*VM, f"file={image},if=virtio"], {5: (image, os.O_RDWR)})
    assert find_target(pid=10, roots=roots).disks[0].format == expected


def test_a_relative_path_of_a_process_that_has_moved(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = an_image(tmp_path / "a"), an_image(tmp_path / "b")
    place = make_process(10, [*VM, "file=web.img,if=virtio,format=raw"], {5: (one, os.O_RDWR)})
    (disk,) = find_target(pid=10, roots=roots).disks
    assert (disk.fd, disk.path) == (5, str(one))
    assert "left the directory" in disk.notes[0]
    (place / "fd" / "6").symlink_to(other)
    (place / "fdinfo" / "6").write_text("flags:\t02\n")
    assert not find_target(pid=10, roots=roots).disks[0].followable


def test_an_fd_set_leads_to_the_file(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    argv = ["qemu-system-x86_64", "-add-fd", "set=1,fd=5", "-drive", "file=/dev/fdset/1,if=virtio,format=raw"]
    make_process(10, argv, {5: (image, os.O_RDWR), 8: (image, os.O_RDWR)})
    assert find_target(pid=10, roots=roots).disks[0].fds == (5, 8)


def test_passed_through_devices_that_are_no_storage_are_no_disks(roots: HostRoots, make_process: ProcMaker) -> None:
    for address, pci_class in (("0000:01:00.0", "0x030000"), ("0000:02:00.0", "0x010802")):
        place = roots.sys / "bus/pci/devices" / address
        place.mkdir(parents=True)
        (place / "class").write_text(f"{pci_class}\n")
    make_process(
        10,
        ["qemu-system-x86_64", "-device", "vfio-pci,host=01:00.0", "-device", "vfio-pci,host=0000:02:00.0"],
    )
    (disk,) = find_target(pid=10, roots=roots).disks
    assert (disk.path, disk.seen_layers) == ("0000:02:00.0", ())


def test_no_such_vm_names_what_runs(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["qemu-system-x86_64", "-name", "a"])
    make_process(20, ["qemu-img", "bench", "x"], comm="qemu-img")
    with pytest.raises(TargetError, match="no VM is called b") as caught:
        find_target("b", roots=roots)
    assert caught.value.hint == "running: a (pid 10), qemu-img (pid 20)"
    assert caught.value.exit_code is ExitCode.TARGET


def test_two_vms_by_one_name(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["qemu-system-x86_64", "-name", "a"])
    make_process(20, ["qemu-system-x86_64", "-name", "guest=a"])
    with pytest.raises(TargetError, match="2 VMs are called a: pids 10, 20"):
        find_target("a", roots=roots)
    with pytest.raises(TargetError, match="more than one"):
        find_target(roots=roots)


def test_the_only_one_needs_no_name(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["qemu-system-x86_64"])
    assert find_target(roots=roots).name == "qemu-system-x86"


def test_nothing_runs(roots: HostRoots) -> None:
    with pytest.raises(TargetError, match="no QEMU process is running"):
        find_target(roots=roots)
    assert list_targets(roots) == []


def test_a_pid_that_is_not_qemu_or_gone(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["bash", "-c", "qemu-system-x86_64"], comm="ba\x1bsh")
    with pytest.raises(TargetError, match=r"process 10 \(ba\\x1bsh\) is not QEMU"):
        find_target(pid=10, roots=roots)
    with pytest.raises(TargetError, match="no process 99"):
        find_target(pid=99, roots=roots)


def test_a_name_and_a_pid(roots: HostRoots) -> None:
    with pytest.raises(UsageError):
        find_target("a", 1, roots=roots)


def test_a_process_that_may_not_be_read(
    roots: HostRoots, make_process: ProcMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_process(10, ["qemu-system-x86_64", "-name", "a"])

    def refuse(process: Path) -> None:
        raise PermissionError(13, "Permission denied", str(process / "fd"))

    monkeypatch.setattr("vio.recorder.target.read_open_files", refuse)
    with pytest.raises(TargetError, match="not permitted") as caught:
        find_target("a", roots=roots)
    assert caught.value.hint == "run vio as root"
    (target,) = list_targets(roots)
    assert "root" in target.notes[0]


def test_one_that_ends_while_it_is_read(
    roots: HostRoots, make_process: ProcMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_process(10, ["qemu-system-x86_64", "-name", "a"])

    def vanish(process: Path) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr("vio.recorder.target.read_open_files", vanish)
    with pytest.raises(TargetError, match="has ended"):
        find_target("a", roots=roots)
    assert list_targets(roots) == []


def test_a_replaced_binary_is_noted(roots: HostRoots, make_process: ProcMaker) -> None:
    make_process(10, ["qemu-system-x86_64"], exe="/usr/bin/qemu-system-x86_64 (deleted)")
    target = find_target(pid=10, roots=roots)
    assert (target.exe, target.is_exe_deleted) == ("/usr/bin/qemu-system-x86_64", True)


def test_the_same_pid_with_another_start_is_another_process(roots: HostRoots, make_process: ProcMaker) -> None:
    place = make_process(10, ["qemu-system-x86_64"])
    target = find_target(pid=10, roots=roots)
    assert is_running(target, roots)
    (place / "stat").write_text("10 (a) S " + " ".join(["0"] * 18) + " 9999 0 0\n")
    assert not is_running(target, roots)


@pytest.mark.parametrize(
    ("socket", "line", "why"),
    [
        ("/run/libvirt/q.sock", "", "libvirt"),
        ("/q.sock", "0000: 2 0 00010000 0001 01 77 /q.sock", "does not listen"),
        ("/q.sock", "0000: 2 0 00000000 0001 03 55 /q.sock", "in use"),
    ],
)
def test_qmp_is_left_alone(roots: HostRoots, make_process: ProcMaker, socket: str, line: str, why: str) -> None:
    place = make_process(10, ["qemu-system-x86_64", "-qmp", f"unix:{socket},server=on"])
    (place / "fd" / "4").symlink_to("socket:[55]")
    with (place / "net/unix").open("a") as table:
        table.write(f"{line}\n")
    assert why in find_target(pid=10, roots=roots).notes[0]


def a_listed_target(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> list[Target]:
    image = an_image(tmp_path, "x[red]\x1b.img")
    make_process(
        10,
        [
            "qemu-system-x86_64",
            "-name",
            "a\x1b[31m",
            "-drive",
            f"file={image},if=virtio,format=raw",
            "-hda",
            "no",
        ],
        {5: (image, os.O_RDWR)},
    )
    return list_targets(roots)


def test_the_table_escapes_what_comes_from_outside(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    targets = a_listed_target(roots, make_process, tmp_path)
    console = Console(width=250, record=True, color_system=None)
    with console.capture() as shown:
        console.print(targets_table(targets))
    text = shown.get()
    assert "\x1b" not in text
    assert "a\\x1b[31m" in text
    assert "x[red]\\x1b.img" in text
    assert any("ide0-hd0: not followed" in note for note in targets_notes(targets))


def test_json_holds_every_field(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    (target,) = json.loads(json.dumps(targets_json(a_listed_target(roots, make_process, tmp_path))))
    assert target["disks"][0]["followable"] is True
    assert target["disks"][0]["below"]["fs_type"] == "xfs"
    assert target["disks"][1]["why_not"]
    assert target["threads"][0] == {"tid": 10, "comm": "qemu-system-x86", "role": "main"}


def test_a_disk_is_chosen_by_any_of_its_names(roots: HostRoots, make_process: ProcMaker, tmp_path: Path) -> None:
    (target,) = a_listed_target(roots, make_process, tmp_path)
    assert select_disks(target, ["virtio0"]) == select_disks(target, [target.disks[0].path])
    with pytest.raises(TargetError, match="has no disk sdz"):
        select_disks(target, ["sdz"])


def test_the_cpu_time_of_a_process_is_that_of_its_threads_so_far() -> None:
    before_s = read_cpu_s(Path("/proc/self"))
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    assert before_s + 0.05 < read_cpu_s(Path("/proc/self")) == pytest.approx(time.process_time(), abs=0.05)
