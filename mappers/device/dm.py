"""Device mapper: the table of a device, as `dmsetup table` prints it, turned into maps to the devices below.

    START LENGTH TARGET ARGUMENTS...        one line for each segment, in sectors of 512 bytes

Where a cache keeps a block is in its metadata, not in its table: that is said, not guessed. Thin volumes are mapped by
whom the caller names.
"""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.device.stripes import Copies, Deal, Member, deal_out, linear, merged
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Flag, Ints, Kind
from vio.mappers.space import device_space

SECTOR = 512
TIMEOUT_S = 10
_DEVICE = re.compile(r"(\d{1,5}):(\d{1,8})", re.ASCII)
_ONLY_METADATA_KNOWS = {
    "thin": "a thin volume's blocks are where the metadata of its pool says",
    "cache": "a cached block is on the fast or the slow device, as the cache's metadata says",
    "era": "its metadata says what changed",
    "writecache": "a block is in the cache or on the device below, as its metadata says",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a table; `start` and `length` in bytes."""

    start: int
    length: int
    target: str
    words: tuple[str, ...]


MapSegment = Callable[[str, Segment, tuple[Ints, Ints]], Copies]
"""Maps a segment of the device whose space it is given; of some targets only ranges of it (begins, ends)."""


def read_table(name: str) -> str:
    """Ask dmsetup for the table of a device; keys of encrypted ones are not shown to us.

    Raises:
        MapError: dmsetup is not installed, or refuses.
    """
    try:
        done = subprocess.run(
            ["dmsetup", "table", "--", name], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise MapError(f"{name}: its table is read by dmsetup, which is not installed", "install dmsetup") from None
    except subprocess.TimeoutExpired:
        raise MapError(f"{name}: dmsetup did not answer within {TIMEOUT_S} s") from None
    if done.returncode:
        raise MapError(f"{name}: dmsetup: {done.stderr.strip()[:200] or 'it failed'}", "run vio as root")
    return done.stdout


def parse_table(text: str) -> tuple[Segment, ...]:
    """Read a table; raise MapError that shows the line which makes no sense."""
    segments: list[Segment] = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) < 3 or not (words[0].isdecimal() and words[1].isdecimal()):
            _refuse(line, "it is no segment of a table")
        start, length = int(words[0]) * SECTOR, int(words[1]) * SECTOR
        if not 0 < length <= LAST - start or (segments and start < segments[-1].start + segments[-1].length):
            _refuse(line, "its segment is impossible")
        segments.append(Segment(start, length, words[2], tuple(words[3:])))
    return tuple(segments)


def map_table(
    source: str, segments: tuple[Segment, ...], within: tuple[Ints, Ints], map_thin: MapSegment | None = None
) -> Copies:
    """Map a device by its table; of striped and thin segments only the ranges `within` (begins, ends).

    `map_thin` maps thin segments: it gets the ranges that are of interest counted from the segment's start.

    Raises:
        MapError: A segment is of a target that is not mapped, or its arguments make no sense.
    """
    maps: Copies = []
    for segment in segments:
        if segment.target == "thin" and map_thin:
            maps += map_thin(source, segment, _inside(segment, within))
            continue
        if segment.target in _ONLY_METADATA_KNOWS:
            _refuse(segment.target, _ONLY_METADATA_KNOWS[segment.target])
        read = _TARGETS.get(segment.target)
        if read is None:
            _refuse(segment.target, "this target of the device mapper is not mapped")
        try:
            maps += read(source, segment, within)
        except (IndexError, ValueError):
            _refuse(f"{segment.target} {' '.join(segment.words)}"[:200], "its arguments make no sense")
    return merged(maps)


def targets_of(segments: tuple[Segment, ...]) -> str:
    """Name the targets of a table: `linear`, `linear, striped`."""
    return ", ".join(dict.fromkeys(segment.target for segment in segments))


def _linear(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    return [(linear(source, segment.start, segment.length, _member(segment.words[0], segment.words[1])), 0)]


def _crypt(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    _cipher, _key, _iv_offset, device, offset = segment.words[:5]
    kind = Kind.MAPPED | Flag.ENCRYPTED
    return [(linear(source, segment.start, segment.length, _member(device, offset), kind), 0)]


def _snapshot(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    # What was written since is in the copy-on-write device; which chunks these are, only that device says.
    member = _member(segment.words[0], "0", segment.start)
    return [(linear(source, segment.start, segment.length, member, Kind.MAPPED | Flag.SHARED), 0)]


def _origin(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    return [(linear(source, segment.start, segment.length, _member(segment.words[0], "0", segment.start)), 0)]


def _striped(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    count, chunk = _count(segment.words[0]), int(segment.words[1]) * SECTOR
    members = [_member(segment.words[at], segment.words[at + 1]) for at in range(2, 2 + 2 * count, 2)]
    if not 0 < chunk <= LAST or count == 0:
        raise ValueError
    deal: Deal = lambda number: (number % count, number // count)  # noqa: E731
    begin, end = _inside(segment, within)
    copies = deal_out(source, begin, end, chunk, members, [deal]) if len(begin) else []
    return [(_shifted(ranges, segment.start), copy) for ranges, copy in copies]


def _multipath(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    words = list(segment.words)
    del words[: 1 + _count(words[0])]  # features
    del words[: 1 + _count(words[0])]  # the hardware handler
    groups = _count(words[0])
    del words[:2]
    paths: list[str] = []
    for _ in range(groups):
        del words[: 2 + _count(words[1])]  # the selector and its arguments
        count, arguments = _count(words[0]), _count(words[1])
        del words[:2]
        for _ in range(count):
            paths.append(words[0])
            del words[: 1 + arguments]
    return [
        (linear(source, segment.start, segment.length, _member(path, "0", segment.start)), copy)
        for copy, path in enumerate(dict.fromkeys(paths))
    ]


def _zero(source: str, segment: Segment, within: tuple[Ints, Ints]) -> Copies:
    return [(RangeMap.of(source, source, segment.start, segment.length, NOWHERE, Kind.ZERO), 0)]


_TARGETS: dict[str, MapSegment] = {
    "linear": _linear,
    "delay": _linear,
    "flakey": _linear,
    "crypt": _crypt,
    "striped": _striped,
    "multipath": _multipath,
    "snapshot": _snapshot,
    "snapshot-origin": _origin,
    "zero": _zero,
}


def device_number(text: str) -> int:
    """Read a device of a table, `MAJOR:MINOR`; raise ValueError if it is none."""
    match = _DEVICE.fullmatch(text)
    if not match:
        raise ValueError(text)
    return os.makedev(int(match[1]), int(match[2]))


def _member(device: str, offset: str, more_bytes: int = 0) -> Member:
    sectors = int(offset)
    if not 0 <= sectors <= LAST // SECTOR // 2:
        raise ValueError
    return Member(device_space(device_number(device)), sectors * SECTOR + more_bytes)


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 1024:
        raise ValueError
    return count


def _inside(segment: Segment, within: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Cut the ranges of interest to a segment, and count them from its start."""
    begin = np.maximum(within[0], segment.start) - segment.start
    end = np.minimum(within[1], segment.start + segment.length) - segment.start
    kept = end > begin
    return begin[kept], end[kept]


def _shifted(ranges: RangeMap, by: int) -> RangeMap:
    rows = ranges.rows._replace(start=ranges.start + by)
    return RangeMap(ranges.source_space, ranges.target_space, *rows)


def _refuse(what: str, why: str) -> NoReturn:
    raise MapError(f"device mapper, {what}: {why}")
