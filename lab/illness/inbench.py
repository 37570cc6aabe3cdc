"""Illnesses that need no guest: `qemu-img bench` on an image made for it, recorded from its begin to its end."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.load import KIB, MIB
from lab.targets import Target, xfs_on_loop_on_tmpfs

_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class BenchIllness:
    """One illness: its recording's name, what makes the image and gives the load's words, what the device is set to."""

    name: str
    prepare: Callable[[Target], list[str]]
    queue: tuple[tuple[str, str], ...] = ()


def record(names: frozenset[str], directory: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Record those that are named; give each recording, and where its image was, when it is there."""
    for one in ILLNESSES:
        if one.name not in names:
            continue
        path = directory / f"{one.name}.vio"
        with xfs_on_loop_on_tmpfs() as target, _queue_set(target.devices[0], one.queue):
            words = one.prepare(target)
            command = (sys.executable, "-m", "vio", "record", "--force", "-o", str(path), "--", "qemu-img", "bench")
            subprocess.run((*command, "-q", "-t", "none", "-n", *words), check=True, timeout=_LIMIT_S)
            yield path, (target.directory,)


@contextlib.contextmanager
def _queue_set(device: str, settings: tuple[tuple[str, str], ...]) -> Iterator[None]:
    queue = Path("/sys/block", device, "queue")
    before = [(name, (queue / name).read_text().split("[")[-1].split("]")[0].strip()) for name, _ in settings]
    for name, value in settings:
        (queue / name).write_text(value)
    try:
        yield
    finally:
        for name, value in before:
            (queue / name).write_text(value)


def _raw(target: Target, size: int) -> Path:
    path = target.directory / "disk.raw"
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(b"\x5a" * MIB)
    return path


def _split_by_device(target: Target) -> list[str]:
    return ["-f", "raw", "-c", "24", "-d", "2", "-s", str(512 * KIB), str(_raw(target, 16 * MIB))]


def _split_by_cluster(target: Target) -> list[str]:
    """Write the clusters of an image from the last to the first, so that no two lie behind each other."""
    path = target.directory / "disk.qcow2"
    _run("qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M")
    writes = [word for at in range(8 * MIB - 64 * KIB, -1, -64 * KIB) for word in ("-c", f"write -q {at} {64 * KIB}")]
    _run("qemu-io", "-n", "-f", "qcow2", *writes, str(path))
    return ["-f", "qcow2", "-c", "16", "-d", "2", "-s", str(512 * KIB), str(path)]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)


ILLNESSES = (
    BenchIllness("split-by-device", _split_by_device, (("max_sectors_kb", "64"),)),
    BenchIllness("split-by-cluster", _split_by_cluster),
)
"""Those that this makes, in order."""
