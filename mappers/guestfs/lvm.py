"""LVM2 on a guest disk: physical volumes, and where the segments of linear and striped logical volumes lie."""

import struct
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.device.stripes import Member, deal_out, linear
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.lvmtext import Section, Value, parse_metadata
from vio.printable import printable

SECTOR = 512
LABEL, LABEL_TYPE = b"LABELONE", b"LVM2 001"
MDA_MAGIC = b" LVM2 x[5A%r0N*>"
AREA = struct.Struct("<QQ")
MDA_HEADER = struct.Struct("<I16sIQQ")
LOCATION = struct.Struct("<QQII")
MAX_TEXT = 16 << 20


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A physical volume on the guest disk, at byte `start`; `text` is the metadata of its group."""

    uuid: str
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume; `ranges` takes its bytes to the guest disk, as far as that holds them. `notes` say the rest."""

    name: str
    size: int
    ranges: RangeMap
    notes: tuple[str, ...] = ()


def read_physical_volume(volume: Content, start: int) -> PhysicalVolume | None:
    """Read the label and metadata of a physical volume that begins at byte `start` of the disk; None if it is none.

    Raises:
        MapError: It is one, and a field cannot be believed.
    """
    label = volume.read_at(0, 4 * SECTOR)
    for sector in range(4):
        one = label[sector * SECTOR : (sector + 1) * SECTOR]
        if one.startswith(LABEL) and one[24:32] == LABEL_TYPE:
            place = sector * SECTOR + int.from_bytes(one[20:24], "little")
            return PhysicalVolume(*_read_header(volume, place, start))
    return None


def logical_volumes(found: list[PhysicalVolume], guest: str) -> tuple[LogicalVolume, ...]:
    """Map the logical volumes of all groups to the guest disk.

    Raises:
        MapError: The metadata of a group cannot be believed.
    """
    volumes: list[LogicalVolume] = []
    groups: dict[str, Section] = {}
    for one in found:
        for name, group in parse_metadata(one.text).items():
            if isinstance(group, dict) and "physical_volumes" in group:
                groups.setdefault(name, group)
    for name, group in groups.items():
        volumes += _volumes_of(name, group, found, guest)
    return tuple(volumes)


def _read_header(volume: Content, place: int, start: int) -> tuple[str, int, str]:
    head = volume.read_at(place, 4096)
    if len(head) < 40 + 2 * AREA.size:
        _refuse("pv_header", "it is not inside the disk")
    uuid = head[:32].decode("ascii", "replace")
    at = 40
    while AREA.unpack_from(head, at)[0]:  # areas of data
        at += AREA.size
        if at + 2 * AREA.size > len(head):
            _refuse("pv_header", "its list of areas does not end")
    offset, size = AREA.unpack_from(head, at + AREA.size)
    return uuid, start, _read_text(volume, offset, size) if offset else ""


def _read_text(volume: Content, offset: int, size: int) -> str:
    head = volume.read_at(offset, SECTOR)
    if len(head) < SECTOR or head[4:20] != MDA_MAGIC:
        _refuse("mda_header", "it has not the magic number")
    place, length, _, _ = LOCATION.unpack_from(head, MDA_HEADER.size)
    if not (SECTOR <= place < size and 0 < length <= min(size - SECTOR, MAX_TEXT)):
        _refuse("raw_locn", f"{length} bytes at {place} of an area of {size}")
    # The area is a ring: a text may go on behind its header.
    first = min(length, size - place)
    data = volume.read_at(offset + place, first) + volume.read_at(offset + SECTOR, length - first)
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _volumes_of(group_name: str, group: Section, found: list[PhysicalVolume], guest: str) -> list[LogicalVolume]:
    extent = _number(group, "extent_size") * SECTOR
    if not 0 < extent <= 1 << 40:
        _refuse("extent_size", str(extent))
    starts = {one.uuid.replace("-", ""): one.start for one in found}
    members: dict[str, Member] = {}
    for name, one in _sections(group, "physical_volumes"):
        uuid = str(one.get("id", "")).replace("-", "")
        if uuid in starts:
            members[name] = Member(guest, starts[uuid] + _number(one, "pe_start") * SECTOR)
    volumes = []
    for name, one in _sections(group, "logical_volumes"):
        label = printable(f"{group_name}/{name}")
        volumes.append(_volume(label, one, extent, members, guest))
    return volumes


def _volume(label: str, section: Section, extent: int, members: dict[str, Member], guest: str) -> LogicalVolume:
    source, parts, notes, size = f"guest-volume:{label}", list[Rows](), list[str](), 0
    for number in range(1, min(_number(section, "segment_count"), 1 << 16) + 1):
        segment = section.get(f"segment{number}")
        if not isinstance(segment, dict):
            _refuse(label, f"segment {number} is missing")
        start, length = (_number(segment, key) * extent for key in ("start_extent", "extent_count"))
        if length <= 0 or start + length > LAST >> 1:
            _refuse(label, f"segment {number} of {length} bytes at {start}")
        size = max(size, start + length)
        if segment.get("type") != "striped":
            notes.append(f"segment {number} is of the type {printable(str(segment.get('type')))}, which is not mapped")
            continue
        for ranges in _segment(source, segment, start, length, extent, members):
            if ranges.target_space == guest:
                parts.append(ranges.rows)
            else:
                notes.append(f"a part of segment {number} is on another disk")
    empty = RangeMap.of(source, guest, [], [], [])
    ranges = RangeMap.from_rows(source, guest, Rows.joined(parts)).coalesce() if parts else empty
    return LogicalVolume(label, size, ranges, tuple(dict.fromkeys(notes)))


def _segment(
    source: str, segment: Section, start: int, length: int, extent: int, members: dict[str, Member]
) -> list[RangeMap]:
    stripes = segment.get("stripes")
    count = _number(segment, "stripe_count")
    if not isinstance(stripes, list) or not 0 < count <= 1024 or len(stripes) != 2 * count:
        _refuse("stripes", "they are not a list of volumes and extents")
    places = []
    for name, first in zip(stripes[::2], stripes[1::2], strict=True):
        if not isinstance(name, str) or not isinstance(first, int) or not 0 <= first < 1 << 40:
            _refuse("stripes", f"{name!r} at {first!r}")
        member = members.get(name)
        places.append(Member(member.space, member.offset + first * extent) if member else Member("", 0))
    if count == 1:
        return [linear(source, start, length, places[0])]
    chunk = _number(segment, "stripe_size") * SECTOR
    if chunk <= 0:
        _refuse("stripe_size", str(chunk))
    whole = np.zeros(1, dtype=np.int64), np.array([length], dtype=np.int64)
    dealt = deal_out(source, *whole, chunk, places, [lambda number: (number % count, number // count)])
    return [RangeMap(source, one.target_space, *one.rows._replace(start=one.start + start)) for one, _ in dealt]


def _sections(group: Section, name: str) -> list[tuple[str, Section]]:
    inside = group.get(name, {})
    if not isinstance(inside, dict):
        _refuse(name, "it is no section")
    return [(key, one) for key, one in inside.items() if isinstance(one, dict)]


def _number(section: Section, name: str) -> int:
    value: Value | None = section.get(name)
    if not isinstance(value, int) or value < 0:
        _refuse(name, f"{value!r} is no number")
    return value


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"LVM of the guest, {printable(field)}: {why}")
