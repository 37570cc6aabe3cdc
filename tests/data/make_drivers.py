"""Make tests/data/drivers.vio anew: a short real recording of a KVM guest with its disks on virtio_blk, SCSI and NVMe.

The layer `device` is opened. `.venv/bin/python -m tests.data.make_drivers` from the checkout; it takes some minutes, on
a lab host.
"""

from pathlib import Path

from lab.disk import Aio, Format
from lab.hostmachine import Bus
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Image, Scenario
from lab.volumes import FileSystem, Stack
from tests.data.fixture import record_scenario, run

DRIVERS = Path(__file__).parent / "drivers.vio"
LIMIT_BYTES = 300_000
BUSES = (Bus.VIRTIO, Bus.SCSI, Bus.NVME)
"""What the guest's disks, vda to vdc, lie on."""
IO_COUNT = 46
"""Requests for each disk, flushes apart."""


def _load(disk: str) -> str:
    large = FioJob("write", io_count=6, io_bytes=256 * KIB, depth=2, disk=disk)
    small = FioJob("randrw", io_count=40, depth=8, span_bytes=MIB, offset_bytes=8 * MIB, flush_every=10, disk=disk)
    return fio(large, small)


SCENARIO = Scenario(
    Load("drivers", tuple(_load(disk) for disk in ("vda", "vdb", "vdc"))),
    tuple(Image(Stack.PLAIN, FileSystem.EXT4, Format.RAW, Aio.NATIVE, size_bytes=64 * MIB, bus=bus) for bus in BUSES),
    ("--open", "device"),
)


def main() -> None:
    """Record, check, and keep what a report needs."""
    record_scenario(SCENARIO, DRIVERS, BUSES, 1 << 30, LIMIT_BYTES)


if __name__ == "__main__":
    run(main)
