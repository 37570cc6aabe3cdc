"""Places to put disk images on, each with the file system and devices below that a test asks for."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lab.scratch import scratch

GIB = 1024 * 1024 * 1024
_COMMAND_LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Target:
    """A directory for images, and the names of the block devices below it, the nearest first."""

    name: str
    directory: Path
    devices: tuple[str, ...]


@contextlib.contextmanager
def root_directory() -> Iterator[Target]:
    """Give a directory on the file system of this repository: ext4 on the machine's disk, as a rule."""
    with scratch("target") as directory:
        yield Target("root", directory, _devices_of(directory))


@contextlib.contextmanager
def xfs_on_loop(size_bytes: int = 2 * GIB) -> Iterator[Target]:
    """Give an XFS on a loop device with direct IO, over a sparse file on the repository's file system."""
    with scratch("target") as directory:
        below = _devices_of(directory)
        with _xfs_over(directory / "xfs.img", size_bytes, is_direct=True) as (xfs, device):
            yield Target("xfs-loop", xfs, (device, *below))


@contextlib.contextmanager
def xfs_on_loop_on_tmpfs(size_bytes: int = 2 * GIB) -> Iterator[Target]:
    """Give an XFS on a loop device over a file in memory: the quickest device that is still a device."""
    with (
        scratch("target") as directory,
        mounted("tmpfs", directory / "tmpfs", "tmpfs", f"size={size_bytes + GIB // 4}") as memory,
        _xfs_over(memory / "xfs.img", size_bytes, is_direct=False) as (xfs, device),
    ):
        yield Target("xfs-loop-tmpfs", xfs, (device,))


TARGETS: dict[str, Callable[[], AbstractContextManager[Target]]] = {
    "root": root_directory,
    "xfs-loop": xfs_on_loop,
    "xfs-loop-tmpfs": xfs_on_loop_on_tmpfs,
}
"""Each target by its name; all but `root` need root."""


def takes_direct_io(directory: Path) -> bool:
    """Tell whether files in `directory` can be opened with O_DIRECT, as cache=none and aio=native need."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        try:
            os.close(os.open(file.name, os.O_RDWR | os.O_DIRECT))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _xfs_over(file: Path, size_bytes: int, *, is_direct: bool) -> Iterator[tuple[Path, str]]:
    with file.open("wb") as backing:
        backing.truncate(size_bytes)
    with loop(file, is_direct=is_direct) as device:
        _run("mkfs.xfs", "-q", "-f", device)
        with mounted(device, file.parent.parent / f"{file.parent.name}-xfs", "xfs") as xfs:
            yield xfs, Path(device).name


@contextlib.contextmanager
def loop(file: Path, *, is_direct: bool) -> Iterator[str]:
    """Attach `file` to a free loop device; give the device's path."""
    device = _run("losetup", f"--direct-io={'on' if is_direct else 'off'}", "--find", "--show", str(file)).strip()
    try:
        yield device
    finally:
        _run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(source: str, directory: Path, kind: str, options: str = "defaults") -> Iterator[Path]:
    """Mount `source` on `directory`, which is made for it."""
    directory.mkdir()
    try:
        _run("mount", "-t", kind, "-o", options, source, str(directory))
        try:
            yield directory
        finally:
            _run("umount", str(directory))
    finally:
        directory.rmdir()


def _devices_of(path: Path) -> tuple[str, ...]:
    """Name the block device below `path`, or nothing where the file system has none of its own."""
    number = path.stat().st_dev
    link = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return (link.resolve().name,) if link.exists() else ()


def _run(*command: str) -> str:
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S)
    return ran.stdout
