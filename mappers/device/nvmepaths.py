"""NVMe multipath: the kernel's one device for a namespace (nvme0n1), and the hidden one of each path (nvme0c1n1).

The hidden ones have no node and tell nobody their device number, which events of the block layer have all the same.
"""

import re
from pathlib import Path

HIDDEN_MAJOR = 259
"""The major number of all devices that get theirs one by one ("blkext")."""
_HEAD = re.compile(r"nvme(\d+)n(\d+)")


def path_names(device: Path) -> tuple[str, ...]:
    """Name the paths of a namespace by its directory in /sys; none where there is but the device itself."""
    match = _HEAD.fullmatch(device.name)
    if not match:
        return ()
    # beside it, below the controllers of its subsystem
    found = (device / "device").glob(f"nvme*/nvme{match[1]}c*n{match[2]}")
    return tuple(sorted({path.name for path in found}))


def unknown_numbers(sys: Path) -> list[int]:
    """List the minor numbers that hidden devices may have: those up to the greatest that no device shows as its own.

    A number that nobody has is among them if a device was taken away.
    """
    links = [link.name.partition(":") for link in (sys / "dev" / "block").iterdir()]
    shown = {int(minor) for major, _, minor in links if major == str(HIDDEN_MAJOR)}
    hidden = [path for path in (sys / "block").iterdir() if _is_hidden(path)]
    return [number for number in range(max(shown, default=0) + len(hidden) + 1) if number not in shown]


def _is_hidden(path: Path) -> bool:
    try:
        return (path / "hidden").read_text().strip() == "1"
    except OSError:
        return False
