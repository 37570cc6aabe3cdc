"""Make tests/data/lab.vio anew: a short real recording of a KVM guest on a lab host.

Its two disks are images on OCFS2, one on NVMe, the other on a dm-linear device on NVMe. `.venv/bin/python -m
tests.data.make_lab` from the checkout; it takes some minutes.
"""

from pathlib import Path

from lab.hostmachine import Bus
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Image, Scenario
from lab.volumes import Stack
from tests.data.fixture import record_scenario, run

LAB = Path(__file__).parent / "lab.vio"
LIMIT_BYTES = 300_000
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


def main() -> None:
    """Record, check, and keep what a report needs."""
    record_scenario(SCENARIO, LAB, [Bus.NVME] * len(SCENARIO.images), 4 << 30, LIMIT_BYTES)


if __name__ == "__main__":
    run(main)
