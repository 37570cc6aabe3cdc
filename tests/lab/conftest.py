"""One lab host for all lab tests: it takes longer to boot than most of them to run."""

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.hostmachine import Bus, HostDisk, make_disk

DISKS = 6
"""To the last of them two controllers lead."""
DISK_BYTES = 4 << 30


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    disks = [make_disk(DISK_BYTES) for _ in range(DISKS)]
    try:
        *single, last = disks
        with Host([*map(HostDisk, single), HostDisk(last, Bus.NVME_PATHS)]) as up:
            yield up
    finally:
        for disk in disks:
            disk.unlink()
