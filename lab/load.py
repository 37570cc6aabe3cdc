"""What a lab guest does to its disks: shell commands, most of them fio, with known numbers of requests."""

import shlex
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

DEMO_DISK_BYTES = 1024 * MIB
"""The smallest disk that DEMO_LOAD and bench_load fit on."""


@dataclass(frozen=True, slots=True)
class Load:
    """Commands that a guest runs one after the other; the first that fails ends the load.

    `drivers` are kernel modules that it needs besides those for its disks.
    """

    name: str
    commands: tuple[str, ...]
    drivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FioJob:
    """One fio job of exactly `io_count` requests of `io_bytes` each, on a stretch of one guest disk.

    `rw` is fio's word (read, randwrite, randrw, trim ...). A `batch` above 1 hands that many over at once:
    QEMU then merges adjacent ones. `flush_every` n writes a flush is asked for. `rate` is in IOs per second.
    """

    rw: str
    io_count: int
    io_bytes: int = 4 * KIB
    depth: int = 16
    batch: int = 1
    offset_bytes: int = 0
    span_bytes: int = 64 * MIB
    read_percent: int = 50
    flush_every: int = 0
    rate: int = 0
    engine: str = "libaio"
    disk: str = "vda"

    def arguments(self, name: str) -> list[str]:
        """Give fio's arguments for this job, called `name`."""
        span_bytes = min(self.span_bytes, self.io_count * self.io_bytes) if self._is_sequential else self.span_bytes
        options = {
            "name": name,
            "filename": f"/dev/{self.disk}",
            "ioengine": self.engine,
            "direct": 1,
            "rw": self.rw,
            "bs": self.io_bytes,
            "iodepth": self.depth,
            "offset": self.offset_bytes,
            "size": span_bytes,
            "io_size": self.io_count * self.io_bytes,
        }
        return [f"--{key}={value}" for key, value in (options | self._further_options()).items()]

    @property
    def _is_sequential(self) -> bool:
        return not self.rw.startswith("rand")

    def _further_options(self) -> dict[str, object]:
        options: dict[str, object] = {}
        if self.batch > 1:
            options |= {"iodepth_batch_submit": self.batch, "iodepth_batch_complete_min": self.batch}
        if self.rw in ("rw", "randrw"):
            options["rwmixread"] = self.read_percent
        if self.flush_every:
            options["fdatasync"] = self.flush_every
        if self.rate:
            options["rate_iops"] = self.rate
        return options


def fio(*jobs: FioJob) -> str:
    """Give the command that runs `jobs` at the same time."""
    arguments = [word for number, job in enumerate(jobs) for word in job.arguments(f"job{number}")]
    return shlex.join(["fio", "--randrepeat=1", "--eta=never", "--output=/dev/null", *arguments])


def write_zeroes(offset_bytes: int, length_bytes: int, *, may_unmap: bool = False, disk: str = "vda") -> str:
    """Give the command that has the disk itself write zeroes, and `may_unmap` what lay there."""
    tool = "/usr/bin/fallocate --punch-hole" if may_unmap else "/usr/bin/blkdiscard --force --zeroout"
    return f"{tool} --offset {offset_bytes} --length {length_bytes} /dev/{disk}"


def bench_load(io_count: int = 20_000, depth: int = 16, *, read_percent: int = 50) -> Load:
    """Give a load of `io_count` random 4 KiB reads and writes, `depth` in flight, on a filled stretch."""
    span_bytes = 128 * MIB
    filling = FioJob("write", io_count=128, io_bytes=MIB, depth=4, span_bytes=span_bytes)
    mixed = FioJob("randrw", io_count, depth=depth, span_bytes=span_bytes, read_percent=read_percent)
    return Load("bench", (fio(filling), fio(mixed)))


DEMO_LOAD = Load(
    "demo",
    (
        fio(FioJob("write", io_count=256, io_bytes=128 * KIB, depth=8)),
        fio(
            FioJob("randread", io_count=1000, depth=16, span_bytes=32 * MIB, rate=300),
            FioJob("randwrite", io_count=500, depth=8, offset_bytes=32 * MIB, flush_every=50, rate=150),
            FioJob("randrw", io_count=500, io_bytes=16 * KIB, depth=4, offset_bytes=128 * MIB, rate=150),
        ),
        fio(FioJob("write", io_count=512, depth=16, batch=8, offset_bytes=256 * MIB)),
        fio(FioJob("read", io_count=256, io_bytes=64 * KIB, depth=4, rate=200)),
        fio(FioJob("trim", io_count=8, io_bytes=MIB, depth=1, offset_bytes=16 * MIB)),
        write_zeroes(24 * MIB, MIB),
        write_zeroes(26 * MIB, MIB, may_unmap=True),
    ),
)
"""About 3000 requests in 7 s: sequential, random, mergeable, flushes, discards, write zeroes."""
