"""Targets found among real processes: QEMU started here, without a guest, and ended by pid."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vio.errors import TargetError
from vio.recorder.elf import read_binary
from vio.recorder.host import Trials, read_host, try_bpf, try_fentry
from vio.recorder.lacks import missing
from vio.recorder.qmp import QmpUnavailable, ask
from vio.recorder.target import Target, find_target, is_running, list_targets

SYSTEM = "qemu-system-x86_64"
BARE = ("-machine", "none", "-S", "-display", "none", "-nodefaults")
PC = ("-machine", "pc", "-S", "-display", "none", "-nodefaults")
Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program and wait until it is the process it says; end it afterwards."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(program: str, *arguments: str) -> int:
        if not shutil.which(program):
            pytest.skip(f"{program} is absent (apt install qemu-system-x86 qemu-utils)")
        process = subprocess.Popen([program, *arguments], cwd=tmp_path, stdin=subprocess.DEVNULL)
        running.append(process)
        return process.pid

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is absent (apt install qemu-utils)")
    made = tmp_path / "disk,1.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(made), "8M"], check=True)
    return made


def described(pid: int, disks: int = 1, with_qmp: bool = True) -> Target:
    """Describe a process once it has opened its disks; the last description if it never does.

    A device that is set up reopens its image for writing, under another descriptor: two descriptions in
    a row have to agree.
    """
    end = time.monotonic() + 20
    last: Target | None = None
    while True:
        try:
            target = find_target(pid=pid, with_qmp=with_qmp)
            is_open = sum(disk.fd is not None for disk in target.disks) >= disks
            if (is_open and last and last.disks == target.disks) or time.monotonic() > end:
                return target
            last = target
        except TargetError:
            # between fork and exec it is still Python
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


@pytest.mark.parametrize("aio", ["native", "io_uring", "threads"])
@pytest.mark.parametrize("cache", ["none", "writeback", "directsync", "writethrough", "unsafe"])
def test_cache_and_aio_modes_of_a_virtio_disk(start: Start, image: Path, cache: str, aio: str) -> None:
    if aio == "native" and cache not in {"none", "directsync"}:
        # QEMU refuses: aio=native needs O_DIRECT
        cache = "none"
    drive = f"file={escaped(image)},if=none,id=d,format=qcow2,cache={cache},aio={aio}"
    pid = start(SYSTEM, *PC, "-drive", drive, "-device", "virtio-blk-pci,drive=d,id=vd")
    (disk,) = described(pid).disks
    assert (disk.name, disk.model, disk.format, disk.path) == ("vd", "virtio-blk", "qcow2", str(image))
    assert (disk.cache, disk.aio, disk.is_direct) == (cache, aio, cache in {"none", "directsync"})
    assert (disk.inode, disk.device) == (image.stat().st_ino, _device(image))
    assert disk.followable
    assert disk.notes == ()
    assert Path(f"/proc/{pid}/fd/{disk.fd}").samefile(image)
    assert disk.below
    assert disk.below.name


def _device(path: Path) -> tuple[int, int]:
    device = path.stat().st_dev
    return os.major(device), os.minor(device)


def test_a_vm_is_found_by_name_and_described_whole(start: Start, image: Path, tmp_path: Path) -> None:
    node = f"driver=qcow2,node-name=top,file.driver=file,file.filename={escaped(image)},file.node-name=low"
    pid = start(
        SYSTEM,
        *PC,
        *("-name", "guest=vio-live-1,debug-threads=on", "-object", "iothread,id=io1"),
        *("-blockdev", node, "-device", "virtio-blk-pci,drive=top,iothread=io1,id=vd"),
        *("-qmp", f"unix:{tmp_path}/q.sock,server=on,wait=off"),
    )
    described(pid)
    target = find_target("vio-live-1")
    assert target.pid == pid
    assert target.version.startswith(_version(SYSTEM))
    assert target.notes == ()
    assert "iothread:io1" in {thread.role for thread in target.threads}
    assert target.disks[0].virtual_size_bytes == 8 << 20
    assert target.disks[0].names == ("vd", "top", "low")
    assert is_running(target)
    assert read_binary(target.exe_link).has("virtqueue_push")


def _version(program: str) -> str:
    text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return text.split("version ")[1].split(" ")[0].strip()


def test_without_qmp_the_version_comes_from_the_binary(start: Start, image: Path) -> None:
    pid = start(SYSTEM, *BARE, "-drive", f"file={escaped(image)},if=none,id=d,format=qcow2")
    target = described(pid, with_qmp=False)
    assert target.version.startswith(_version(SYSTEM))
    assert target.disks[0].virtual_size_bytes is None


def test_a_disk_plugged_in_later_is_known_through_qmp(start: Start, image: Path, tmp_path: Path) -> None:
    pid = start(SYSTEM, *PC, "-monitor", "unix:h.sock,server=on,wait=off", "-qmp", "unix:q.sock,server=on,wait=off")
    _wait_until((tmp_path / "h.sock").exists)
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(tmp_path / "h.sock"))
        monitor.sendall(f"drive_add 0 if=none,id=hot,format=qcow2,file={escaped(image)}\n".encode())
        (disk,) = described(pid).disks
    assert (disk.name, disk.format, disk.fd is not None) == ("hot", "qcow2", True)
    assert described(pid, disks=0, with_qmp=False).disks == ()


def _wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)


def test_a_busy_qmp_socket_is_left_alone_and_still_serves_its_client(start: Start, image: Path, tmp_path: Path) -> None:
    drive = f"file={escaped(image)},if=none,id=d,format=qcow2"
    pid = start(SYSTEM, *BARE, "-drive", drive, "-qmp", "unix:q.sock,server=on,wait=off")
    described(pid)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(tmp_path / "q.sock"))
        assert b"QMP" in client.recv(4096)
        begin = time.monotonic()
        target = find_target(pid=pid)
        assert time.monotonic() - begin < 1
        assert "in use by another program" in target.notes[0]
        assert target.disks[0].followable
        client.sendall(b'{"execute":"qmp_capabilities"}')
        assert b"return" in client.recv(4096)
    # once the client has gone, the monitor answers again
    time.sleep(0.3)
    assert find_target(pid=pid).notes == ()


def test_a_stopped_qemu_does_not_hold_us_up(start: Start, image: Path, tmp_path: Path) -> None:
    drive = f"file={escaped(image)},if=none,id=d,format=qcow2"
    pid = start(SYSTEM, *BARE, "-drive", drive, "-qmp", "unix:q.sock,server=on,wait=off")
    described(pid, with_qmp=False)
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    target = find_target(pid=pid)
    assert time.monotonic() - begin < 2.5
    assert "did not answer" in target.notes[0]
    assert target.disks[0].followable
    os.kill(pid, signal.SIGCONT)


def test_a_socket_that_is_no_qmp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(QmpUnavailable):
            ask(tmp_path / "s", 0.2)
        server.listen()
        with pytest.raises(QmpUnavailable, match="did not answer"):
            ask(tmp_path / "s", 0.2)


def test_two_vms_by_one_name(start: Start) -> None:
    pids = sorted(start(SYSTEM, *BARE, "-name", "vio-live-twin") for _ in range(2))
    for pid in pids:
        described(pid, disks=0)
    with pytest.raises(TargetError, match="2 VMs are called vio-live-twin") as caught:
        find_target("vio-live-twin")
    assert all(str(pid) in caught.value.message for pid in pids)
    with pytest.raises(TargetError, match="no VM is called vio-live-other") as caught:
        find_target("vio-live-other")
    assert f"vio-live-twin (pid {pids[0]})" in caught.value.hint
    assert set(pids) <= {target.pid for target in list_targets(with_qmp=False)}


def test_a_process_that_is_not_qemu_and_one_that_has_ended(start: Start) -> None:
    with pytest.raises(TargetError, match="is not QEMU"):
        find_target(pid=os.getpid())
    zombie = start("qemu-img", "--version")
    _wait_until(lambda: ") Z" in Path(f"/proc/{zombie}/stat").read_text())
    with pytest.raises(TargetError, match=r"\(qemu-img\) has ended"):
        find_target(pid=zombie)
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(TargetError, match=f"no process {ended.pid}"):
        find_target(pid=ended.pid)


def test_a_storage_daemon(start: Start, image: Path, tmp_path: Path) -> None:
    pid = start(
        "qemu-storage-daemon",
        *("--blockdev", f"driver=file,node-name=f,filename={escaped(image)},cache.direct=on,aio=native"),
        *("--blockdev", "driver=qcow2,node-name=q,file=f"),
        *("--nbd-server", f"addr.type=unix,addr.path={tmp_path}/n.sock"),
        *("--export", "type=nbd,id=e,node-name=q,writable=on"),
        *("--chardev", f"socket,id=c,path={tmp_path}/q.sock,server=on,wait=off", "--monitor", "chardev=c"),
    )
    target = described(pid)
    (disk,) = target.disks
    assert (target.kind, target.version.split(" ")[0]) == ("storage-daemon", _version("qemu-storage-daemon"))
    assert (disk.name, disk.model, disk.format, disk.cache, disk.aio) == (
        "e",
        "nbd export",
        "qcow2",
        "none",
        "native",
    )
    assert disk.followable


def test_an_nbd_server(start: Start, image: Path, tmp_path: Path) -> None:
    pid = start(
        "qemu-nbd",
        "-t",
        "-k",
        f"{tmp_path}/n.sock",
        "-f",
        "qcow2",
        "--cache=none",
        "--aio=native",
        image.name,
    )
    # qemu-nbd moves to / once it has opened its image
    _wait_until(lambda: Path(f"/proc/{pid}/cwd").readlink() == Path("/"))
    target = described(pid)
    (disk,) = target.disks
    assert (target.kind, disk.name, disk.format) == ("nbd", image.name, "qcow2")
    assert (disk.cache, disk.aio, disk.why_not) == ("none", "native", "")
    assert disk.path == str(image)
    assert "left the directory" in disk.notes[0]


def test_qemu_io(start: Start, image: Path) -> None:
    pid = start("qemu-io", "-f", "qcow2", "-t", "directsync", "-c", "sleep 20000", str(image))
    (disk,) = described(pid).disks
    assert (disk.name, disk.cache, disk.followable) == (image.name, "directsync", True)


def test_qemu_img(start: Start, image: Path) -> None:
    pid = start("qemu-img", "bench", "-f", "qcow2", "-w", "-c", "100000000", "-d", "1", "-i", "threads", str(image))
    target = described(pid)
    assert (target.kind, target.disks[0].format, target.disks[0].aio) == ("img", "qcow2", "threads")


def test_a_deleted_image_is_still_followed(start: Start, image: Path) -> None:
    pid = start(SYSTEM, *BARE, "-drive", f"file={escaped(image)},if=none,id=d,format=qcow2")
    described(pid)
    image.unlink()
    (disk,) = described(pid).disks
    assert disk.followable
    assert "deleted" in disk.notes[0]


def test_a_replaced_image_is_not_taken_for_the_open_one(start: Start, image: Path) -> None:
    pid = start(SYSTEM, *BARE, "-drive", f"file={escaped(image)},if=none,id=d,format=qcow2")
    inode = described(pid).disks[0].inode
    image.rename(image.with_name("moved"))
    image.write_bytes(bytes(512))
    (disk,) = described(pid, disks=0).disks
    assert disk.fd is None or disk.inode == inode


def test_this_host() -> None:
    host = read_host()
    assert host.cpu_count >= 1
    assert host.clock_source
    if not host.bpftrace or not host.is_root:
        assert any(lack.is_fatal for lack in missing(host))
        pytest.skip("bpftrace or root is absent: no trial can be made")
    trial = try_bpf(host.bpftrace)
    lacks = missing(host, Trials(trial, try_fentry(host.bpftrace)))
    assert trial.is_ok == (not any(lack.is_fatal for lack in lacks)) or not host.tracefs
