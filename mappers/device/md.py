"""md arrays: raid0, 1, 4, 5, 6 and 10 as /sys describes them, turned into maps to the member devices."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.device.raid10 import deals_of_raid10
from vio.mappers.device.stripes import Copies, Deal, Member, deal_out, linear
from vio.mappers.device.sysfile import read_dev, read_number, read_text
from vio.mappers.kind import Ints
from vio.mappers.space import device_space

SECTOR = 512
KIB = 1024
LEFT_ASYMMETRIC, RIGHT_ASYMMETRIC, LEFT_SYMMETRIC, RIGHT_SYMMETRIC, PARITY_FIRST, PARITY_LAST = range(6)
ADDED_PARITY = 16
"""Added to the number of a raid5's layout, where raid6 was made of one by putting a disk to it."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array; sizes in bytes. A member that is missing is None.

    `member_bytes` is what each one has room for, `used_bytes` what the array takes of each (0 of raid0,
    which takes all).
    """

    level: str
    layout: int
    chunk: int
    size: int
    members: tuple[Member | None, ...]
    member_bytes: tuple[int, ...]
    used_bytes: int


def read_array(path: Path, size: int) -> Array:
    """Read an array from its directory in /sys/block; raise MapError where that cannot be believed."""
    md = path / "md"
    count = read_number(md / "raid_disks")
    if not 0 < count <= 1024:
        _refuse(path.name, f"{count} members")
    if read_text(md / "reshape_position") != "none":
        _refuse(path.name, "it is being reshaped: its data moves from one layout to another")
    members: list[Member | None] = []
    sizes: list[int] = []
    for number in range(count):
        one = md / f"rd{number}"
        if not one.exists():
            members.append(None)
            continue
        space = device_space(read_dev(one / "block"))
        members.append(Member(space, read_number(one / "offset") * SECTOR))
        sizes.append(read_number(one / "size") * KIB)
    return Array(
        read_text(md / "level"),
        _layout(md / "layout"),
        read_number(md / "chunk_size"),
        size,
        tuple(members),
        tuple(sizes),
        read_number(md / "component_size") * KIB,
    )


def _layout(path: Path) -> int:
    """Read the number of a layout: raid0 of members of one size has none, which the kernel writes as -1."""
    return -1 if read_text(path) == "-1" else read_number(path)


def map_array(source: str, array: Array, within: tuple[Ints, Ints]) -> Copies:
    """Map an array; of a striped one the ranges `within` (begins, ends) only. Missing members have no map.

    Raises:
        MapError: It is of a level or layout that is not mapped.
    """
    if array.level == "raid1":
        present = [member for member in array.members if member]
        return [(linear(source, 0, array.size, member), copy) for copy, member in enumerate(present)]
    if array.chunk <= 0:
        _refuse(array.level, f"chunks of {array.chunk} bytes")
    count = len(array.members)
    # A member that is missing gets a name that is no device: what it held is then dropped.
    members = [member or Member("", 0) for member in array.members]
    copies = deal_out(source, *within, array.chunk, members, _deals(array, count))
    return [(ranges, copy) for ranges, copy in copies if ranges.target_space]


def _deals(array: Array, count: int) -> list[Deal]:
    if array.level == "raid0":
        whole = {size - size % array.chunk for size in array.member_bytes}
        if len(whole) > 1:
            _refuse("raid0", "its members are of different sizes: it has zones, which are not mapped")
        return [lambda chunk: (chunk % count, chunk // count)]
    if array.level == "raid10":
        return deals_of_raid10(array.layout, count, array.used_bytes // array.chunk)
    if array.level in ("raid4", "raid5") and count > 1:
        layout = PARITY_LAST if array.level == "raid4" else array.layout
        if layout not in range(6):
            _refuse(array.level, f"the layout {layout} is unknown")
        return [partial(_parity, layout=layout, count=count)]
    if array.level == "raid6" and count > 2:
        return [_double_parity(array.layout, count)]
    return _refuse(array.level, "this level is not mapped")


def _double_parity(layout: int, count: int) -> Deal:
    """Give the deal of raid6, whose layout is one of its own, or of a raid5 with the second parity on the last disk."""
    if layout in range(6):
        return partial(_parity, layout=layout, count=count, parities=2)
    if layout - ADDED_PARITY in range(5):
        return partial(_parity, layout=layout - ADDED_PARITY, count=count - 1)
    return _refuse("raid6", f"the layout {layout} is not mapped")


def _parity(chunk: Ints, layout: int, count: int, parities: int = 1) -> tuple[Ints, Ints]:
    row, number = chunk // (count - parities), chunk % (count - parities)
    if layout == PARITY_FIRST:
        return number + parities, row
    if layout == PARITY_LAST:
        return number, row
    turn = row % count
    parity = count - 1 - turn if layout in (LEFT_ASYMMETRIC, LEFT_SYMMETRIC) else turn
    if layout in (LEFT_SYMMETRIC, RIGHT_SYMMETRIC):
        return (parity + parities + number) % count, row
    # Of two, the second follows the first: where that is on the last disk, it is on the first one.
    is_apart = (parities == 2) & (parity == count - 1)
    return np.where(is_apart, number + 1, number + parities * (number >= parity)), row


def _refuse(what: str, why: str) -> NoReturn:
    raise MapError(f"md, {what}: {why}")
