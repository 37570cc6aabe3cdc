"""Make tests/data/lab.vio anew: a short real recording of a KVM guest on a lab host.

Its two disks are images on OCFS2, one on NVMe, the other on a dm-linear device on NVMe. `.venv/bin/python -m
tests.data.make_lab` from the checkout; it takes some minutes.
"""

import sys
import tempfile
from pathlib import Path

from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Image, Scenario, record_on
from lab.volumes import Stack
from lab.witness import examine, guest_differences

from vio.errors import VioError

LAB = Path(__file__).parent / "lab.vio"
LIMIT_BYTES = 300_000
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
LOAD = Load(
    "lab",
    tuple(
        fio(
            FioJob("write", io_count=8, io_bytes=64 * KIB, depth=2, disk=disk),
            FioJob("randrw", io_count=40, depth=4, span_bytes=MIB, offset_bytes=MIB, flush_every=10, disk=disk),
        )
        for disk in ("vda", "vdb")
    ),
)
SCENARIO = Scenario(LOAD, (Image(Stack.PLAIN), Image(Stack.LINEAR)))


def main() -> int:
    """Record, check, and keep what a report needs."""
    disks = [make_disk(4 << 30) for _ in SCENARIO.images]
    try:
        with Host([HostDisk(disk) for disk in disks]) as host:
            outcome = record_on(host, SCENARIO, LAB, echo=sys.stderr.buffer)
    finally:
        for disk in disks:
            disk.unlink()
    for path in LAB.iterdir():
        if path.name not in KEPT:
            path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        findings = examine(LAB, Path(folder) / "ios.parquet")
    differences = guest_differences(findings.ios, outcome)
    size_bytes = sum(file.stat().st_size for file in LAB.rglob("*") if file.is_file())
    if differences or findings.losses or size_bytes > LIMIT_BYTES:
        raise VioError(f"this recording is no good: {differences}, {findings.losses}, {size_bytes:,} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VioError as error:
        sys.exit(f"make_lab: {error}")
