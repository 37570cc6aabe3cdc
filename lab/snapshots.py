"""A guest's disk of which a snapshot is taken while it is recorded: its data is written anew afterwards, elsewhere."""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab.disk import Aio, Disk, Format, make_image
from lab.guest import Guest
from lab.load import KIB, MIB, FioJob
from lab.session import Recorder
from lab.truth import qmp
from lab.truth.shell import SHELL_LOAD, Shell
from lab.unflushed import SIZE_BYTES, Place, places

_OLD_BYTES, _NEW_OFFSET = 4 * MIB, 16 * MIB
_FILLING = FioJob("randwrite", 64, io_bytes=64 * KIB, depth=4, span_bytes=_OLD_BYTES)
_AFTER = (
    FioJob("randwrite", 30, depth=4, span_bytes=_OLD_BYTES),
    FioJob("randread", 30, depth=4, span_bytes=_OLD_BYTES),
    FioJob("write", 32, io_bytes=64 * KIB, depth=4, offset_bytes=_NEW_OFFSET),
)
IO_COUNT = sum(job.io_count for job in (_FILLING, *_AFTER))


class Way(StrEnum):
    """Within the qcow2 image, whose clusters are copied on the next write; or as an overlay, a file of its own."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """When the snapshot was there (CLOCK_BOOTTIME), and by qemu-img where the guest's data is in each image's file.

    `before` is at the snapshot, `after` when all is flushed; the last image is the one that was written to last.
    """

    taken_ns: int
    images: tuple[Path, ...]
    before: list[Place]
    after: tuple[list[Place], ...]


def record_snapshot(directory: Path, output: Path, way: Way) -> Snapshotted:
    """Record a guest that writes, reads and writes; the snapshot is taken after its first writes.

    Where that makes an overlay, the image is one too: of a snapshot that was taken before the recording.
    """
    image = make_image(directory / "disk0.img", SIZE_BYTES, Format.QCOW2)
    with Guest([Disk(image, aio=Aio.NATIVE)], SHELL_LOAD, name="snapshot", wait_for_go=True) as guest:
        images = [_taken(guest, way, image)]
        with Recorder(guest.pid, output), _shell(guest) as shell:
            shell.fio(_FILLING)
            images += [_taken(guest, way, images[0])]
            taken_ns, before = time.clock_gettime_ns(time.CLOCK_BOOTTIME), places(images[0])
            for job in _AFTER:
                shell.fio(job)
            time.sleep(0.2)  # the last notification is after fio's end
    images = list(dict.fromkeys(images))
    return Snapshotted(taken_ns, tuple(images), before, tuple(map(places, images)))


def _shell(guest: Guest) -> Shell:
    guest.go()
    return Shell(guest)


def _taken(guest: Guest, way: Way, image: Path) -> Path:
    """Take a snapshot of an image that is the disk's; return what is the disk's image then."""
    if way is Way.INTERNAL:
        name = f"at{time.monotonic_ns()}"
        qmp.command(guest.qmp_socket, "blockdev-snapshot-internal-sync", device="disk0", name=name)
        return image
    overlay = image.with_name(f"{image.stem}-later.img")
    node, new = image.stem, overlay.stem
    arguments = {"node-name": node, "snapshot-file": str(overlay), "snapshot-node-name": new, "format": "qcow2"}
    qmp.command(guest.qmp_socket, "blockdev-snapshot-sync", **arguments)
    return overlay
