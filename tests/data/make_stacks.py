"""Make tests/data/stacks.vio anew: a short real recording of a KVM guest with its disks on all kinds of mapped devices.

`.venv/bin/python -m tests.data.make_stacks` from the checkout; it takes some minutes, on a lab host.
"""

import sys
import tempfile
from pathlib import Path

from lab.disk import Format
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Image, Scenario, record_on
from lab.volumes import FileSystem, Stack
from lab.witness import examine, guest_differences

from vio.errors import VioError

STACKS = Path(__file__).parent / "stacks.vio"
LIMIT_BYTES = 400_000
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
OF_DISKS = (
    Stack.LINEAR,
    Stack.STRIPED,
    Stack.DELAY,
    Stack.CRYPT,
    Stack.RAID0,
    Stack.RAID1,
    Stack.THIN,
    Stack.MULTIPATH,
    Stack.PARTITION,
)
"""The stacks below the guest's disks, vda to vdi."""
NVME_COUNT = sum(stack.disk_count for stack in OF_DISKS)
IO_COUNT = 30
"""Requests for each disk, flushes apart."""


def _load(disk: str) -> str:
    large = FioJob("write", io_count=6, io_bytes=256 * KIB, depth=2, disk=disk)
    small = FioJob("randrw", io_count=24, depth=4, span_bytes=MIB, offset_bytes=8 * MIB, flush_every=8, disk=disk)
    return fio(large, small)


SCENARIO = Scenario(
    Load("stacks", tuple(_load(f"vd{chr(ord('a') + number)}") for number in range(len(OF_DISKS)))),
    tuple(Image(stack, FileSystem.EXT4, Format.RAW, size_bytes=64 * MIB) for stack in OF_DISKS),
    ("--open", "device"),
)


def main() -> int:
    """Record, check, and keep what a report needs."""
    disks = [make_disk(1 << 30) for _ in range(NVME_COUNT)]
    try:
        with Host([HostDisk(disk) for disk in disks]) as host:
            outcome = record_on(host, SCENARIO, STACKS, echo=sys.stderr.buffer)
    finally:
        for disk in disks:
            disk.unlink()
    for path in STACKS.iterdir():
        if path.name not in KEPT:
            path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        findings = examine(STACKS, Path(folder) / "ios.parquet")
    differences = guest_differences(findings.ios, outcome)
    size_bytes = sum(file.stat().st_size for file in STACKS.rglob("*") if file.is_file())
    if differences or findings.losses or size_bytes > LIMIT_BYTES:
        raise VioError(f"this recording is no good: {differences}, {findings.losses}, {size_bytes:,} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VioError as error:
        sys.exit(f"make_stacks: {error}")
