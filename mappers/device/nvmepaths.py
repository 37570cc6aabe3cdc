"""NVMe multipath: the kernel's one device for a namespace (nvme0n1), and the hidden one of each path (nvme0c1n1).

The hidden ones have no node, and no place in /sys by their number; /proc/diskstats has the numbers.
"""

import os
import re
from pathlib import Path

_HEAD = re.compile(r"nvme(\d+)n(\d+)")
_LINE = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s")


def path_names(device: Path) -> tuple[str, ...]:
    """Name the paths of a namespace by its directory in /sys; none where there is but the device itself."""
    match = _HEAD.fullmatch(device.name)
    if not match:
        return ()
    # beside it, below the controllers of its subsystem
    found = (device / "device").glob(f"nvme*/nvme{match[1]}c*n{match[2]}")
    return tuple(sorted({path.name for path in found}))


def device_numbers(diskstats: Path) -> dict[str, int]:
    """Give the number of each block device, of hidden ones too."""
    try:
        lines = diskstats.read_text().splitlines()
    except OSError:
        return {}
    found = filter(None, map(_LINE.match, lines))
    return {match[3]: os.makedev(int(match[1]), int(match[2])) for match in found if int(match[1])}
