"""What the kernel itself counts of a block device, in /sys (Linux's Documentation/block/stat.rst)."""

from dataclasses import dataclass
from pathlib import Path

from vio.layer import Op
from vio.recorder.scope import MINOR_BITS

_SECTOR_BYTES = 512
# In `stat`, where an operation's count and its sectors stand; discards since 4.18, flushes since 5.5.
_FIELDS = {Op.READ: (0, 2), Op.WRITE: (4, 6), Op.DISCARD: (11, 13), Op.FLUSH: (15, None)}
_LEAST_FIELDS = 11


@dataclass(frozen=True, slots=True)
class DeviceCounts:
    """Requests that the device has completed since it is there, their bytes, and those in flight.

    In flight are reads and writes that have been made of bios, whether the device has got them or not.
    """

    requests: dict[Op, int]
    bytes: dict[Op, int]
    in_flight: dict[Op, int]


def parse_counts(stat: str, inflight: str) -> DeviceCounts | None:
    """Read the two files of these names; None if they are not as they should be."""
    fields, flying = stat.split(), inflight.split()
    if len(fields) < _LEAST_FIELDS or len(flying) != 2 or not all(field.isdigit() for field in [*fields, *flying]):
        return None
    numbers = [int(field) for field in fields]
    there = {op: places for op, places in _FIELDS.items() if places[0] < len(numbers)}
    return DeviceCounts(
        {op: numbers[count] for op, (count, _) in there.items()},
        {op: numbers[sectors] * _SECTOR_BYTES if sectors else 0 for op, (_, sectors) in there.items()},
        {Op.READ: int(flying[0]), Op.WRITE: int(flying[1])},
    )


def read_counts(kernel_dev: int, sys: Path = Path("/sys")) -> DeviceCounts | None:
    """Read the counts of a device (the kernel's number); None where there are none."""
    name = f"{kernel_dev >> MINOR_BITS}:{kernel_dev & ((1 << MINOR_BITS) - 1)}"
    place = sys / "dev" / "block" / name
    try:
        return parse_counts((place / "stat").read_text(), (place / "inflight").read_text())
    except OSError:
        return None
