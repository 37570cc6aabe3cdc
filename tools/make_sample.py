"""Make reporter/sample/demo.vio anew: a short real recording, shipped for machines that cannot trace themselves.

`.venv/bin/python -m tools.make_sample` as root, in the checkout, on a machine that is otherwise idle: the neighbours'
IO on the disk is recorded too, and the sample must stay small.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from lab.disk import Disk, make_image
from lab.initramfs import REPOSITORY
from lab.load import DEMO_DISK_BYTES, KIB, MIB, FioJob, Load, fio, write_zeroes
from lab.session import record_guest, rename_images
from lab.targets import xfs_on_loop
from lab.witness import examine

from vio.errors import VioError

SAMPLE = REPOSITORY / "reporter" / "sample" / "demo.vio"
LIMIT_BYTES = 600_000
_LOAD = Load(
    "sample",
    (
        fio(FioJob("write", io_count=64, io_bytes=256 * KIB, depth=4)),
        fio(
            FioJob("randread", io_count=400, depth=16, span_bytes=16 * MIB, rate=400),
            FioJob("randwrite", io_count=300, depth=8, offset_bytes=16 * MIB, flush_every=50, rate=300),
            FioJob("randrw", io_count=150, io_bytes=16 * KIB, depth=4, offset_bytes=128 * MIB, rate=150),
        ),
        fio(FioJob("write", io_count=128, depth=16, batch=8, offset_bytes=256 * MIB)),
        fio(FioJob("trim", io_count=4, io_bytes=MIB, depth=1, offset_bytes=4 * MIB)),
        write_zeroes(8 * MIB, MIB),
        write_zeroes(10 * MIB, MIB, may_unmap=True),
    ),
)


def main() -> int:
    """Record, check, and put the recording in its place."""
    with tempfile.TemporaryDirectory(prefix="vio-sample-", dir="/var/tmp") as folder:
        made = Path(folder) / SAMPLE.name
        with xfs_on_loop() as target:
            disk = Disk(make_image(target.directory / "disk.qcow2", DEMO_DISK_BYTES))
            record_guest([disk], _LOAD, made, name="demo")
            rename_images(made, target.directory)
        _check(made)
        shutil.rmtree(SAMPLE, ignore_errors=True)
        shutil.copytree(made, SAMPLE)
    return 0


def _check(made: Path) -> None:
    findings = examine(made)
    (made / "ios.parquet").unlink()
    if findings.losses or findings.whole_count < findings.io_count or findings.exact_count < findings.io_count:
        raise VioError(f"this recording is no good as a sample: {findings.losses}, {findings.lacks}", "try again")
    size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    if size > LIMIT_BYTES:
        raise VioError(f"this recording is too large for a sample: {size:,} bytes", "try again on an idle machine")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VioError as error:
        sys.exit(f"make_sample: {error}")
