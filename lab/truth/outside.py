"""Injections on lab hosts: play them there, judge here. `python -m lab.truth.outside [NAME ...]` prints the table.

With `--keep DIRECTORY` the recordings, and what is known of them, stay there: tests/data has one.
"""

import argparse
import json
import shutil
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from lab.beside import beside
from lab.cluster import DEVICE, cluster
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.load import MIB
from lab.truth.attribution import Attribution, Lives, attribute, cell
from lab.truth.onhost import BEGUN, HOGGED_KERNEL_WORKER, WANTED
from lab.truth.runner import lives_of
from lab.truth.table import row
from lab.volumes import PLACE
from lab.witness import examine
from vio.layer import Op, Phase, Stage
from vio.reporter.waits import Wait

_DISK_BYTES = 256 * MIB
_CLUSTER_DISK_BYTES = 2048 * MIB
_LIMIT_S = 900.0
_STEP_S = 120.0
_POLL_S = 0.1
_DELAY_MS = 150
_SLOW_MOUNT = f"""set -e
umount {PLACE}
modprobe dm-delay
dmsetup create slow --table "0 $(blockdev --getsz {DEVICE}) delay {DEVICE} 0 0 {DEVICE} 0 {_DELAY_MS}"
mount -t ocfs2 /dev/mapper/slow {PLACE}
"""
_WRITER = """import os, sys, pathlib
fd = os.open(sys.argv[1], os.O_WRONLY)
while not pathlib.Path(sys.argv[3]).exists():
    os.pwrite(fd, b"else" * 1024, 15 << 20)
    pathlib.Path(sys.argv[2]).touch()
os.fsync(fd)
"""

_ALIKE = frozenset({"dm-delay"})  # the delay is the same in each read: the median one stands for all
EXPECTED = {
    "dm-delay": (cell(Stage.BLOCK, Phase.DOWN),),
    "cluster-lock": (cell(Stage.FS, Phase.DOWN),),
    HOGGED_KERNEL_WORKER: (cell(Stage.BLOCK, Phase.UP),),
}
"""The bio is queued on the mapped device, and waits before it is queued on the one below; a read waits in OCFS2 for the
lock of the inode, before it queues a bio; what the device has read waits for the worker that decrypts it."""
WAITS = {HOGGED_KERNEL_WORKER: Wait.RUNQUEUE}


def play_on_host(name: str, keep: Path | None = None) -> Attribution:
    """Boot what an injection needs, play it there, and judge; `keep` gets its recording and what is known of it."""
    with _PLACES[name]() as host:
        host.run_module("lab.truth.onhost", name, DEVICE, str(host.directory), timeout_s=_LIMIT_S)
        if keep:
            shutil.copy(host.directory / f"{name}.json", keep)
            not_needed = shutil.ignore_patterns("program.bt", "ios.*")
            shutil.copytree(host.directory / f"{name}.vio", keep / f"{name}.vio", ignore=not_needed, dirs_exist_ok=True)
        return judge(host.directory, name)


@contextmanager
def _one_host() -> Iterator[Host]:
    disk = make_disk(_DISK_BYTES)
    try:
        with Host([HostDisk(disk)], memory_mib=2048) as host:
            yield host
    finally:
        disk.unlink()


@contextmanager
def _node_of_a_cluster() -> Iterator[Host]:
    """Give a node; the other, whose writes are slow, writes to the image while that is `WANTED`."""
    disk = make_disk(_CLUSTER_DISK_BYTES)
    try:
        with cluster(disk, memory_mib=1536) as both:
            first, second = both.hosts
            second.run(_SLOW_MOUNT, _STEP_S)
            (second.directory / "writer.py").write_text(_WRITER)
            script = f"""while [ ! -e go ]; do sleep 0.1; done; python3 writer.py {PLACE}/image.raw {BEGUN} stop"""
            writer = second.start(f"cd {second.directory} && {script}", _LIMIT_S)
            with _bridge(first, second):
                yield first
            writer.wait()
    finally:
        disk.unlink()


@contextmanager
def _bridge(first: Host, second: Host) -> Iterator[None]:
    """Pass on between two hosts, which share no directory, what is asked for and what has begun."""

    def pass_on(is_over: threading.Event) -> None:
        def passed(source: Path, target: Path) -> None:
            while not source.exists():
                if is_over.wait(_POLL_S):
                    return
            target.touch()

        passed(first.directory / WANTED, second.directory / "go")
        passed(second.directory / BEGUN, first.directory / BEGUN)
        while (first.directory / WANTED).exists() and not is_over.wait(_POLL_S):
            pass
        (second.directory / "stop").touch()

    with beside(pass_on):
        yield


_PLACES: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "dm-delay": _one_host,
    "cluster-lock": _node_of_a_cluster,
    HOGGED_KERNEL_WORKER: _one_host,
}


def judge(directory: Path, name: str) -> Attribution:
    """Compare the reads without and with the delay; the truth is how long they took by qemu-io's own clock."""
    known = json.loads((directory / f"{name}.json").read_text())
    lives = lives_of(examine(directory / f"{name}.vio").ios, 0, (Op.READ,))
    base, slow = (_within(lives, known[part]) for part in ("base", "slow"))
    usual_ns = statistics.median(_took_ns(known["base"]))
    took_ns = _took_ns(known["slow"])
    is_each = name in _ALIKE
    total_ns = len(took_ns) * statistics.median(took_ns) if is_each else sum(took_ns)
    injected_ns = round(total_ns - len(took_ns) * usual_ns)
    return attribute(base, slow, injected_ns, EXPECTED[name], is_each=is_each, wait=WAITS.get(name))


def _within(lives: Lives, stretches: list[dict[str, int]]) -> Lives:
    masks = [(lives.begin_ns >= one["from_ns"]) & (lives.end_ns <= one["to_ns"]) for one in stretches]
    return lives.where(np.logical_or.reduce(masks))


def _took_ns(stretches: list[dict[str, list[int]]]) -> list[int]:
    return [time_ns for one in stretches for time_ns in one["took_ns"]]


def main() -> None:
    """Play the injections that are named, or all, and print their rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPECTED))
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - EXPECTED.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in chosen.names or EXPECTED:
        sys.stdout.write(row(name, play_on_host(name, chosen.keep), WAITS.get(name)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
