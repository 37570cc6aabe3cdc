"""Two nodes of an OCFS2 cluster write to one image, and both are recorded: `contend(both, output)`.

Node 0 writes alone first, then both write at the same time, each to places of its own: the lock that they wait for is
that of the file. Inside a node it is `python -m lab.contend DIRECTORY NODE IMAGE OPTION...`.
"""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from lab.cachedio import QemuIo
from lab.cluster import Cluster
from lab.disk import Aio, Cache, Format
from lab.host import Host, Job
from lab.load import KIB
from lab.session import Recorder
from lab.volumes import PLACE
from vio.errors import VioError

RW_LOCK, INODE_LOCK = "ocfs2_rw_lock", "ocfs2_inode_lock_full_nested"
_LOCKS = tuple(word for name in (RW_LOCK, INODE_LOCK) for word in ("--point", f"fentry:ocfs2:{name}"))
WRITES = 10
ALONE, TOGETHER = 0, (16 << 20, 32 << 20)
"""Where in the image node 0 writes alone; where each node writes while the other does."""

_STEP_BYTES = 1 << 20 | 4096
_IMAGE_BYTES = 48 << 20
_LIMIT_S = 1200.0
_POLL_S = 0.02
_RECORDING = "node.vio"
_PREPARE = """set -e
qemu-img create -q -f raw {0} {1}
dd if=/dev/zero of={0} bs=1M count={2} conv=notrunc oflag=direct status=none
sync"""


def contend(
    both: Cluster, output: Path, options: Sequence[str] = _LOCKS, *, echo: BinaryIO | None = None
) -> tuple[Path, Path]:
    """Record both nodes, their locks opened, or by other options; give `node0.vio` and `node1.vio` in `output`.

    Raises:
        LabError: a host is gone, or a node failed; the message says how.
    """
    image = PLACE / "shared.raw"
    both.hosts[0].run(_PREPARE.format(image, _IMAGE_BYTES, _IMAGE_BYTES >> 20), _LIMIT_S)
    jobs = [_start(host, number, image, options) for number, host in enumerate(both.hosts)]
    _wait_for(lambda: all(_has(host, "ready") for host in both.hosts), jobs, both)
    _say(both.hosts[0], "alone")
    _wait_for(lambda: _has(both.hosts[0], "done"), jobs, both)
    for host in both.hosts:
        _say(host, "together")
    found = []
    output.mkdir(parents=True, exist_ok=True)
    for number, (host, job) in enumerate(zip(both.hosts, jobs, strict=True)):
        job.wait(echo=echo)
        found.append(output / f"node{number}.vio")
        shutil.rmtree(found[-1], ignore_errors=True)
        shutil.move(host.directory / _RECORDING, found[-1])
    return found[0], found[1]


def _start(host: Host, number: int, image: Path, options: Sequence[str]) -> Job:
    words = (sys.executable, "-m", "lab.contend", str(host.directory), str(number), str(image), *options)
    return host.start(shlex.join(words), _LIMIT_S)


def _has(host: Host, word: str) -> bool:
    return (host.directory / word).exists()


def _say(host: Host, word: str) -> None:
    (host.directory / word).touch()


def _wait_for(is_so: Callable[[], bool], jobs: Sequence[Job], both: Cluster) -> None:
    deadline_s = time.monotonic() + _LIMIT_S
    while not is_so():
        for job in jobs:
            job.check()
        if time.monotonic() > deadline_s:
            raise both.hosts[0].error("the nodes have not begun to record")
        time.sleep(_POLL_S)


def main(arguments: Sequence[str]) -> int:
    """Be a node: record a `qemu-io`, and have it write when it is told to."""
    directory, number, image, options = Path(arguments[0]), int(arguments[1]), arguments[2], arguments[3:]
    local = Path("/tmp") / _RECORDING
    target = QemuIo(Path(image), Format.RAW, Aio.THREADS, Cache.NONE)
    with Recorder(target.pid, local, *options, echo=sys.stderr.buffer) as recorder:
        (directory / "ready").touch()
        if number == 0:
            _await(directory / "alone")
            _write(target, ALONE)
            (directory / "done").touch()
        _await(directory / "together")
        _write(target, TOGETHER[number])
        target.close()
        recorder.finish()
    shutil.copytree(local, directory / _RECORDING)
    return 0


def _await(path: Path) -> None:
    while not path.exists():
        time.sleep(_POLL_S)


def _write(target: QemuIo, offset: int) -> None:
    for number in range(WRITES):
        target.write(offset + number * _STEP_BYTES, 4 * KIB, number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VioError as error:
        sys.exit(f"lab: {error}")
