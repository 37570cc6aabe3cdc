"""Loop devices, file systems and mounts for tests, taken down again whatever happens. Root is needed."""

import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECTOR = 512
PARTITION_TYPE_LINUX = 0x83


def require_root(*tools: str) -> None:
    """Skip the test, saying why, unless it may make loop devices and has the tools."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loop devices and mounts")
    if not Path("/dev/loop-control").exists():
        pytest.skip("needs loop devices: /dev/loop-control is absent")
    for tool in ("losetup", "mount", "umount", *tools):
        require_tool(tool)


def require_tool(tool: str) -> None:
    """Skip the test, saying why, unless the program is installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")


def run(*command: str | Path, timeout_s: float = 60) -> str:
    """Run a command and give its output; fail with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def sparse_file(path: Path, size: int) -> Path:
    """Make a file of `size` bytes, all of it a hole."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def write_mbr(path: Path, partitions: list[tuple[int, int]], sector_bytes: int = SECTOR) -> None:
    """Write a partition table of up to four (start, size), both in bytes, to a file."""
    with path.open("r+b") as file:
        for number, (start, size) in enumerate(partitions):
            file.seek(446 + 16 * number)
            # The cylinder fields stay zero: nobody has read them for decades.
            file.write(struct.pack("<B3xB3xII", 0, PARTITION_TYPE_LINUX, start // sector_bytes, size // sector_bytes))
        file.seek(510)
        file.write(b"\x55\xaa")


@contextmanager
def loop_device(path: Path, partscan: bool = False, offset: int = 0, sector_bytes: int = SECTOR) -> Iterator[Path]:
    """Attach a file to a free loop device; with `partscan` its partitions appear as <device>p1 ..."""
    device = Path(
        run("losetup", "--find", "--show", "--offset", str(offset), "--sector-size", str(sector_bytes), path).strip()
    )
    try:
        if partscan:
            # Some kernels read no partition tables themselves; partx does it for them.
            run("partx", "--add", device)
            _wait_for(Path(f"{device}p1"))
        yield device
    finally:
        if partscan:
            subprocess.run(["partx", "--delete", str(device)], capture_output=True, check=False)
        _insist("losetup", "--detach", str(device))


def make_fs(device: Path, fstype: str, *options: str) -> None:
    """Make a file system on a device."""
    quiet = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"]}[fstype]
    run(f"mkfs.{fstype}", *quiet, *options, device)


@contextmanager
def mounted(device: Path, fstype: str, *options: str) -> Iterator[Path]:
    """Mount a device on a new directory, and unmount it afterwards."""
    where = Path(tempfile.mkdtemp(prefix="vio-mount-"))
    try:
        run("mount", "-t", fstype, *options, device, where)
        try:
            yield where
        finally:
            _insist("umount", str(where))
    finally:
        where.rmdir()


@contextmanager
def work_dir(prefix: str = "vio-disk-") -> Iterator[Path]:
    """Make a directory on the root file system, which has room and FIEMAP; remove it with all it holds."""
    where = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    try:
        yield where
    finally:
        shutil.rmtree(where)


def _wait_for(path: Path, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.05)


def _insist(*command: str, attempts: int = 20) -> None:
    # Somebody else's scan of all devices or mounts may hold it for a moment.
    for _ in range(attempts):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{' '.join(command)}: {done.stderr}")
