"""Arithmetic of striping: ranges cut at the borders of chunks, and chunks dealt out to devices, as rows of maps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from vio.errors import MapError
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.interval import without_overlap
from vio.mappers.kind import Ints, Kind

Copies = list[tuple[RangeMap, int]]
"""Maps of one space, each with the number of the copy that it is of: 0 the first."""

MAX_PIECES = 1 << 25
"""Chunks that a map may have: 2 TiB in chunks of 64 KiB, and a gigabyte of memory."""


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a set: its address space, and the byte at which the set's data begins on it."""

    space: str
    offset: int


Deal = Callable[[Ints], tuple[Ints, Ints]]
"""Chunk numbers to the member that holds each, and the number of the chunk on that member."""


def cut_at(begin: Ints, end: Ints, unit: int) -> tuple[Ints, Ints, Ints]:
    """Cut ranges (none empty) at multiples of `unit`: index of the range, begin and end of each piece."""
    count = (end - 1) // unit - begin // unit + 1
    owner = np.repeat(np.arange(len(begin)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    border = (begin[owner] // unit + place) * unit
    return owner, np.maximum(border, begin[owner]), np.minimum(border + unit, end[owner])


def deal_out(source: str, begin: Ints, end: Ints, chunk: int, members: list[Member], deals: Iterable[Deal]) -> Copies:
    """Map ranges `[begin, end)` of a striped space to its members; each of `deals` is one copy of the data."""
    if int(((end - 1) // chunk - begin // chunk + 1).sum()) > MAX_PIECES:
        raise MapError(f"{source}: chunks of {chunk} bytes make more than {MAX_PIECES} pieces of it")
    _, start, stop = cut_at(begin, end, chunk)
    maps: Copies = []
    for copy, deal in enumerate(deals):
        member, row = deal(start // chunk)
        target = row * chunk + start % chunk
        for number, one in enumerate(members):
            mine = np.flatnonzero(member == number)
            if len(mine):
                ranges = RangeMap.of(source, one.space, start[mine], (stop - start)[mine], target[mine] + one.offset)
                maps.append((ranges.coalesce(), copy))
    return merged(maps)


def merged(maps: Copies) -> Copies:
    """Join the maps of one target and copy into one: what is there twice must not overlap."""
    groups: dict[tuple[str, int], list[RangeMap]] = {}
    for ranges, copy in maps:
        groups.setdefault((ranges.target_space, copy), []).append(ranges)
    return [(_joined(some), copy) for (_, copy), some in groups.items()]


def reached(maps: Copies, space: str) -> tuple[Ints, Ints]:
    """Give the ranges (begins, ends) of a space that maps lead to, sorted, each byte once."""
    mine = [ranges for ranges, _ in maps if ranges.target_space == space]
    none = np.empty(0, dtype=np.int64)
    placed = [(ranges.target, np.maximum(ranges.target_length, 1), ranges.target >= 0) for ranges in mine]
    begin = np.concatenate([none, *(target[which] for target, _, which in placed)])
    length = np.concatenate([none, *(stored[which] for _, stored, which in placed)])
    return without_overlap(begin, begin + length)


def linear(source: str, start: int, length: int, member: Member, kind: int = Kind.MAPPED) -> RangeMap:
    """Map one range of a space to a member."""
    return RangeMap.of(source, member.space, start, length, member.offset, kind)


def _joined(maps: list[RangeMap]) -> RangeMap:
    if len(maps) == 1:
        return maps[0]
    rows = Rows.joined([ranges.rows for ranges in maps])
    return RangeMap.from_rows(maps[0].source_space, maps[0].target_space, rows).coalesce()
