"""A qcow2 image whose tables lag behind: written, discarded and rewritten while it is recorded, and never flushed."""

import json
import os
import random
import signal
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lab.cachedio import QemuIo
from lab.disk import Aio, Cache, Format, make_image
from lab.load import KIB, MIB
from lab.session import Recorder

SIZE_BYTES = 64 * MIB
CLUSTER = 64 * KIB
_OLD_BYTES = 4 * MIB
_NEW = range(8 * MIB, 24 * MIB, 4 * CLUSTER)
_SIZES = (4 * KIB, 512, 28 * KIB, CLUSTER, 100 * KIB, 3 * CLUSTER)

Place = tuple[int, int, int]
"""Guest offset, bytes, and offset in the image file."""


@dataclass(frozen=True, slots=True)
class Unflushed:
    """Where the guest's data is in the image file by `qemu-img map`: at the stop as the file has it, and flushed."""

    stale: list[Place]
    true: list[Place]
    discarded: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Setting:
    """How the image is made and opened; with `has_backing`, over one that is full of data."""

    cache: Cache
    has_backing: bool = False
    has_discard: bool = True
    options: str = ""

    @property
    def aio(self) -> Aio:
        """The aio of that cache mode."""
        return Aio.NATIVE if self.cache.is_direct else Aio.THREADS


def record_unflushed(directory: Path, output: Path, setting: Setting) -> Unflushed:
    """Record, and let QEMU flush when the recording has ended."""
    image = _made(directory, setting)
    with closing(QemuIo(image, Format.QCOW2, setting.aio, setting.cache, has_discard=setting.has_discard)) as qemu:
        qemu.write(0, _OLD_BYTES, 1)
        qemu.flush()
        with Recorder(qemu.pid, output):
            discarded = _played(qemu)
        stale = places(image)
        qemu.flush()
        return Unflushed(stale, places(image), discarded)


def record_killed(directory: Path, output: Path, setting: Setting) -> list[tuple[int, int, int]]:
    """Record a QEMU that is killed while it writes; return offset, bytes and pattern of what it had written."""
    writes = [(start + 512, 8 * KIB, number % 250) for number, start in enumerate(_NEW)]
    qemu = QemuIo(_made(directory, setting), Format.QCOW2, setting.aio, setting.cache)
    with closing(qemu), Recorder(qemu.pid, output) as recorder:
        for offset, count, pattern in writes:
            qemu.write(offset, count, pattern)
        os.kill(qemu.pid, signal.SIGKILL)
        recorder.finish()
    return writes


def _made(directory: Path, setting: Setting) -> Path:
    if not setting.has_backing:
        return make_image(directory / "disk.img", SIZE_BYTES, Format.QCOW2, setting.options)
    base = make_image(directory / "base.img", SIZE_BYTES, Format.QCOW2)
    with closing(QemuIo(base, Format.QCOW2, Aio.THREADS)) as qemu:
        for offset in range(0, 32 * MIB, 4 * MIB):
            qemu.write(offset, 4 * MIB, 2)
    options = ",".join(word for word in (setting.options, f"backing_file={base},backing_fmt=qcow2") if word)
    return make_image(directory / "disk.img", SIZE_BYTES, Format.QCOW2, options)


def _played(qemu: QemuIo) -> list[tuple[int, int]]:
    """Write new clusters, rewrite, discard, zero; return what is discarded or zeroed at the end.

    QEMU writes its tables out for a discard: so most of what is new comes after that, one by one and many at once.
    """
    chance = random.Random(7)
    starts = chance.sample(_NEW, len(_NEW))
    early, late = starts[:16], starts[16:]
    _write_new(qemu, early, chance)
    for offset in range(0, MIB, CLUSTER):
        qemu.write(offset + 512, 4 * KIB, 9)
    new, old = [(start, CLUSTER) for start in early[:12]], [(2 * MIB, 4 * CLUSTER), (3 * MIB + 512, 2 * CLUSTER)]
    for offset, count in (*new, *old):
        qemu.discard(offset, count)
    zeroed = [(start, 2 * CLUSTER) for start in early[12:]]
    for offset, count in zeroed:
        qemu.zero(offset, count)
    for offset, _ in new[:6]:
        qemu.write(offset, 4 * KIB, 5)
    _write_new(qemu, late, chance)
    many = [(start + inside, 4 * KIB) for start in range(32 * MIB, 36 * MIB, CLUSTER) for inside in (0, 8 * KIB, 40960)]
    qemu.write_at_once(chance.sample(many, len(many)))
    return [*new[6:], *old, *zeroed]


def _write_new(qemu: QemuIo, starts: list[int], chance: random.Random) -> None:
    for number, start in enumerate(starts):
        qemu.write(start + chance.randrange(0, CLUSTER, 512), _SIZES[number % len(_SIZES)], number)


def places(image: Path) -> list[Place]:
    """Ask qemu-img where data is in an image's own file; what a backing file has is not in it."""
    command = ["qemu-img", "map", "-U", "--output=json", "-f", "qcow2", str(image)]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    return [
        (row["start"], row["length"], row["offset"])
        for row in rows
        if "offset" in row and not row["depth"] and row["data"]
    ]
