"""QEMU's tools as targets: the same block layer without a guest's device, so qemu-block is at the top."""

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.disk import make_image
from lab.load import KIB, MIB
from lab.session import VIO, Recorder
from lab.targets import root_directory
from lab.witness import Findings, examine

from vio.layer import Op, Stage
from vio.schema import OPS

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

IMAGE_BYTES = 64 * MIB
COMMANDS = (
    *("write -P 1 0 1M", "aio_write -P 2 2M 64k", "aio_flush", "flush", "read 0 512k", "aio_read 2M 16k", "aio_flush"),
    *("discard 0 64k", "write -z 4M 64k"),
)
READ_COUNT, WRITE_COUNT = 400, 300


@dataclass(frozen=True, slots=True)
class Server:
    """A program that exports an image over NBD on a Unix socket."""

    name: str
    socket: Path
    image: Path

    @property
    def address(self) -> str:
        """Its address for clients."""
        return f"nbd+unix:///disk?socket={self.socket}"

    def command(self) -> list[str]:
        """Give the words that start it."""
        if self.name == "qemu-nbd":
            how = ("--persistent", "--format=qcow2", "--cache=none", "--aio=native", "--export-name=disk")
            return ["qemu-nbd", *how, f"--socket={self.socket}", str(self.image)]
        direct = {"direct": True}
        file = {"driver": "file", "node-name": "file0", "filename": str(self.image), "cache": direct, "aio": "io_uring"}
        disk = {"driver": "qcow2", "node-name": "disk0", "file": "file0", "cache": direct}
        nodes = [word for node in (file, disk) for word in ("--blockdev", json.dumps(node))]
        export = "type=nbd,id=export0,node-name=disk0,name=disk,writable=on"
        return [
            *("qemu-storage-daemon", *nodes, "--nbd-server", f"addr.type=unix,addr.path={self.socket}"),
            *("--export", export),
        ]


@pytest.fixture
def image() -> Iterator[Path]:
    with root_directory() as target:
        yield make_image(target.directory / "tool.qcow2", IMAGE_BYTES)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(server.command(), stdin=subprocess.DEVNULL) as process:
        try:
            deadline_s = time.monotonic() + 10
            while not server.socket.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline_s, f"{server.name} makes no socket"
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def bench(address: str, count: int, *more: str) -> None:
    words = ["qemu-img", "bench", "-f", "raw", "-c", str(count), "-d", "8", *more, address]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=60)


def ops_of(findings: Findings) -> Counter[Op]:
    return Counter(OPS[number] for number in findings.ios["op"].to_pylist())


def assert_whole(findings: Findings) -> None:
    assert findings.losses == {}
    assert (findings.whole_count, findings.lacks) == (findings.io_count, {})
    assert findings.exact_count == findings.io_count
    assert findings.disagree == 0
    assert Stage.QEMU_BLOCK not in {gap.stage for gap in findings.unreached}
    assert {gap.stage for gap in findings.unreached if not gap.is_recorded} == {Stage.QEMU_DEVICE}


def test_qemu_io_is_recorded_from_its_first_command(image: Path, tmp_path: Path) -> None:
    words = [word for command in COMMANDS for word in ("-c", command)]
    record = [*VIO, "record", "-o", str(tmp_path / "io.vio"), "--", "qemu-io", "-f", "qcow2", "-t", "none", "-n"]
    subprocess.run([*record, *words, str(image)], check=True, capture_output=True, timeout=60)
    findings = examine(tmp_path / "io.vio")
    assert_whole(findings)
    ops = ops_of(findings)
    # The last flush is the one that closes the image.
    assert ops == {Op.WRITE: 2, Op.READ: 2, Op.DISCARD: 1, Op.WRITE_ZEROES: 1, Op.FLUSH: ops[Op.FLUSH]}
    assert 2 <= ops[Op.FLUSH] <= 3
    rows = findings.ios.to_pylist()
    assert [(row["offset"], row["bytes"]) for row in rows if OPS[row["op"]] is Op.WRITE] == [
        (0, MIB),
        (2 * MIB, 64 * KIB),
    ]
    assert all(row["t_accept_ns"] is None and row["t_block_begin_ns"] is not None for row in rows)


@pytest.mark.parametrize("name", ["qemu-nbd", "qemu-storage-daemon"])
def test_what_clients_ask_of_an_nbd_server_is_recorded(name: str, image: Path, tmp_path: Path) -> None:
    server = Server(name, tmp_path / "nbd.sock", image)
    with serving(server) as process, Recorder(process.pid, tmp_path / "nbd.vio") as recorder:
        bench(server.address, WRITE_COUNT, "-w", "-s", "16384", "-S", "16384")
        bench(server.address, READ_COUNT, "-s", "4096", "-S", "8192")
        process.terminate()
        recorder.finish()
    findings = examine(tmp_path / "nbd.vio")
    assert_whole(findings)
    ops = ops_of(findings)
    assert (ops[Op.READ] - _probes_of_clients(findings), ops[Op.WRITE]) == (READ_COUNT, WRITE_COUNT)
    sizes = {op: {row["bytes"] for row in findings.ios.to_pylist() if OPS[row["op"]] is op} for op in (Op.WRITE,)}
    assert sizes == {Op.WRITE: {16 * KIB}}


def _probes_of_clients(findings: Findings) -> int:
    """Count the reads that are not the bench's: a client may look at the first sector to guess the format."""
    return sum(row["bytes"] != 4 * KIB for row in findings.ios.to_pylist() if OPS[row["op"]] is Op.READ)
