"""Make tests/data/flushes.vio anew: a real recording of flushes by io_submit, on XFS and on ext4; as root.

`.venv/bin/python -m tests.data.make_flushes` in the checkout, where the first QEMU in the PATH is 9.1 or later: those
before leave each flush to a worker thread.
"""

import json
import shutil
import tempfile
from pathlib import Path

from lab.disk import Disk, make_image
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.session import record_guest, rename_images
from lab.targets import TARGETS
from lab.witness import examine, guest_differences
from tests.data.fixture import run, trim

from vio.errors import VioError
from vio.recording import Recording

FLUSHES = Path(__file__).parent / "flushes.vio"
LIMIT_BYTES = 300_000
_LOAD = Load(
    "flushes",
    (
        fio(*(FioJob("write", 8, io_bytes=512 * KIB, depth=4, disk=disk) for disk in ("vda", "vdb"))),
        fio(
            *(
                FioJob("randwrite", 100, depth=4, span_bytes=4 * MIB, flush_every=5, disk=disk)
                for disk in ("vda", "vdb")
            )
        ),
    ),
)


def main() -> None:
    """Record, check, and put the recording in its place, with the guest's own count beside it."""
    with (
        tempfile.TemporaryDirectory(prefix="vio-flushes-", dir="/var/tmp") as folder,
        TARGETS["xfs-loop"]() as xfs,
        TARGETS["root"]() as ext4,
    ):
        made = Path(folder) / FLUSHES.name
        places = (xfs.directory / "xfs.qcow2", ext4.directory / "ext4.qcow2")
        disks = [Disk(make_image(place, 64 * MIB)) for place in places]
        outcome = record_guest(disks, _LOAD, made, name="flushes")
        if not any(point.name == "aio_fsync" for point in Recording.open(made).manifest.points):
            raise VioError("this QEMU does not flush by io_submit", "put one of 9.1 or later into the PATH")
        findings = examine(made, Path(folder) / "ios.parquet")
        if findings.losses or findings.whole_count < findings.io_count or guest_differences(findings.ios, outcome):
            raise VioError(f"this recording is no good: {findings.losses}, {findings.lacks}", "try again")
        for place in places:
            rename_images(made, place.parent)
        trim(made, LIMIT_BYTES)
        (made / "guest.json").write_text(json.dumps([stats.flush_ios for stats in outcome.guest.values()]) + "\n")
        shutil.rmtree(FLUSHES, ignore_errors=True)
        shutil.copytree(made, FLUSHES)


if __name__ == "__main__":
    run(main)
