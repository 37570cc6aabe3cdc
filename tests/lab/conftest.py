"""One lab host for all lab tests of a process: it takes longer to boot than most of them to run.

`make test` has two processes, and so two hosts at the same time.
"""

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.hostmachine import Bus, HostDisk, make_disk

DISKS = 6
"""To the last of them two controllers lead."""
DISK_BYTES = 4 << 30
LONGEST = "test_recording"
"""The module that takes as long as all others together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest module first: of two processes that share the modules, one is to begin with it."""
    items.sort(key=lambda item: item.path.stem != LONGEST)


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
