"""Make tests/data/scsi.vio anew: a short real recording of a guest with two SCSI disks and a virtio-blk one; as root.

`.venv/bin/python -m tests.data.make_scsi` in the checkout, on a machine that is otherwise idle.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from lab.disk import Aio, Bus, Disk, Format, make_image
from lab.load import KIB, MIB, FioJob, Load, fio, write_zeroes
from lab.session import record_guest, rename_images
from lab.targets import xfs_on_loop
from lab.witness import examine, guest_differences

from vio.errors import VioError

SCSI = Path(__file__).parent / "scsi.vio"
LIMIT_BYTES = 300_000
_DURABLE = (
    "fio --name=durable --filename=/dev/sda --ioengine=libaio --direct=1 --sync=dsync --rw=randwrite --bs=4k"
    " --iodepth=8 --offset=64m --size=8m --io_size=64k --output=/dev/null"
)
_LOAD = Load(
    "scsi",
    (
        fio(*(FioJob("write", 8, io_bytes=512 * KIB, depth=4, disk=disk) for disk in ("sda", "sdb", "vda"))),
        fio(
            FioJob("randrw", 120, depth=8, span_bytes=4 * MIB, flush_every=20, disk="sda"),
            FioJob("randrw", 100, io_bytes=16 * KIB, depth=8, span_bytes=4 * MIB, disk="sdb"),
            FioJob("randrw", 60, depth=8, span_bytes=4 * MIB, flush_every=20, disk="vda"),
        ),
        _DURABLE,
        fio(*(FioJob("trim", 4, io_bytes=MIB, depth=4, disk=disk) for disk in ("sda", "vda"))),
        write_zeroes(8 * MIB, MIB, disk="sda"),
        write_zeroes(10 * MIB, MIB, may_unmap=True, disk="sdb"),
    ),
)


def main() -> int:
    """Record, check, and put the recording in its place, with the guest's own count beside it."""
    with tempfile.TemporaryDirectory(prefix="vio-scsi-", dir="/var/tmp") as folder:
        made = Path(folder) / SCSI.name
        with xfs_on_loop() as target:
            images = target.directory
            disks = [
                Disk(make_image(images / "first.qcow2", 128 * MIB), bus=Bus.VIRTIO_SCSI, has_fua=True),
                Disk(make_image(images / "plain.qcow2", 128 * MIB), aio=Aio.IO_URING),
                Disk(
                    make_image(images / "second.raw", 128 * MIB, Format.RAW),
                    Format.RAW,
                    bus=Bus.VIRTIO_SCSI,
                    aio=Aio.THREADS,
                    block_bytes=4096,
                ),
            ]
            outcome = record_guest(disks, _LOAD, made, name="scsi")
            findings = examine(made)
            if findings.losses or findings.whole_count < findings.io_count or guest_differences(findings.ios, outcome):
                raise VioError(f"this recording is no good: {findings.losses}, {findings.lacks}", "try again")
            rename_images(made, images)
        (made / "ios.parquet").unlink()
        counted = {
            disk: [stats.read_ios, stats.read_bytes, stats.write_bytes, stats.discard_ios, stats.flush_ios]
            for disk, stats in outcome.guest.items()
        }
        (made / "guest.json").write_text(json.dumps(counted) + "\n")
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        if size > LIMIT_BYTES:
            raise VioError(f"this recording is too large for a fixture: {size:,} bytes", "try again on an idle machine")
        shutil.rmtree(SCSI, ignore_errors=True)
        shutil.copytree(made, SCSI)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VioError as error:
        sys.exit(f"make_scsi: {error}")
