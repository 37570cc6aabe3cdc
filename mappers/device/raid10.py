"""md raid10: on which member, and in which row of chunks, each copy of a chunk lies, as the kernel deals them out.

The layout is a number: near copies in bits 0 to 7, far copies in bits 8 to 15, bit 16 where the far copies of a row
follow it at once (`offset`), and from bit 17 on how far a copy may go: 0 anywhere, else within a set of members.
"""

from functools import partial
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.device.stripes import Deal
from vio.mappers.kind import Ints


def deals_of_raid10(layout: int, count: int, chunks: int) -> list[Deal]:
    """Give a deal for each copy; `chunks` is how many of them each of the `count` members gives.

    Raises:
        MapError: There is no such layout.
    """
    near, far, is_offset = layout & 0xFF, layout >> 8 & 0xFF, bool(layout >> 16 & 1)
    if not 1 < near * far <= count:
        _refuse(layout)
    members_of_set = {0: count, 1: count // far, 2: near * far}.get(layout >> 17) or _refuse(layout)
    # what the far copies are apart; of the members' chunks only as many are used as make whole rows of all copies
    stride = 1 if is_offset else -(-(chunks // far * count // near * near * far) // count) // far
    return [
        partial(_place, count=count, near=near, rows=far if is_offset else 1, number=number, shift=shift)
        for shift in _shifts(count, near, far, members_of_set, stride)
        for number in range(near)
    ]


Shift = tuple[Ints, int]
"""Where the far copy of what each member has is: the member, and how many rows further down."""


def _shifts(count: int, near: int, far: int, members_of_set: int, stride: int) -> list[Shift]:
    last = (count // members_of_set - 1) * members_of_set
    rest = count % members_of_set
    member, shifts = np.arange(count), list[Shift]()
    for copy in range(far):
        shifts.append((member, copy * stride))
        moved = member + near
        within = moved % members_of_set + member // members_of_set * members_of_set
        # a set that is not full belongs to the one before it
        in_last = (moved - last) % (members_of_set + rest) + last
        member = np.where((rest > 0) & (moved > last), in_last, within)
    return shifts


def _place(chunk: Ints, count: int, near: int, rows: int, number: int, shift: Shift) -> tuple[Ints, Ints]:
    first = chunk * near
    member = first % count + number
    moved, down = shift
    return moved[member % count], first // count * rows + member // count + down


def _refuse(layout: int) -> NoReturn:
    raise MapError(f"md, raid10: the layout {layout:#x} is unknown")
