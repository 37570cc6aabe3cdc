"""One lab host for all lab tests: it takes longer to boot than most of them to run."""

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk

DISKS = 5
DISK_BYTES = 4 << 30


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    disks = [make_disk(DISK_BYTES) for _ in range(DISKS)]
    try:
        with Host([HostDisk(disk) for disk in disks]) as up:
            yield up
    finally:
        for disk in disks:
            disk.unlink()
