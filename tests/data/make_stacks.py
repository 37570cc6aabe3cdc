"""Make tests/data/stacks.vio anew: a short real recording of a KVM guest with its disks on all kinds of mapped devices.

`.venv/bin/python -m tests.data.make_stacks` from the checkout; it takes some minutes, on a lab host.
"""

from pathlib import Path

from lab.disk import Format
from lab.hostmachine import Bus
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Image, Scenario
from lab.volumes import FileSystem, Stack
from tests.data.fixture import record_scenario, run

STACKS = Path(__file__).parent / "stacks.vio"
LIMIT_BYTES = 400_000
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


def main() -> None:
    """Record, check, and keep what a report needs."""
    record_scenario(SCENARIO, STACKS, [Bus.NVME] * NVME_COUNT, 1 << 30, LIMIT_BYTES)


if __name__ == "__main__":
    run(main)
