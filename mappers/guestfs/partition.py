"""Partition tables on a guest disk: GPT and MBR, with logical partitions."""

import struct
import zlib
from dataclasses import dataclass
from typing import NoReturn

from vio.errors import MapError
from vio.mappers.guestfs.content import Content

GPT_SIGNATURE = b"EFI PART"
GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
GPT_ENTRY = struct.Struct("<16s16sQQQ")
MBR_ENTRY = struct.Struct("<B3xB3xII")
MBR_TABLE, MBR_SIGNATURE = 446, b"\x55\xaa"
PROTECTIVE, EXTENDED = 0xEE, (0x05, 0x0F, 0x85)
MAX_ENTRIES, MAX_LOGICAL = 1024, 128


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `start` and `size` in bytes, `number` as Linux counts."""

    number: int
    start: int
    size: int


def read_partitions(disk: Content) -> tuple[Partition, ...]:
    """Read the partition table, none where there is none; what reaches beyond the disk is cut off.

    Raises:
        MapError: There is a table, and a field of it cannot be believed.
    """
    head = disk.read_at(0, 512)
    if head[510:512] != MBR_SIGNATURE:
        return ()
    entries = _mbr_entries(head)
    if any(kind == PROTECTIVE for kind, _, _ in entries):
        return _read_gpt(disk)
    found = [Partition(n + 1, start * 512, size * 512) for n, (kind, start, size) in enumerate(entries) if kind]
    logical: list[Partition] = []
    for kind, start, _ in entries:
        if kind in EXTENDED:
            logical += _read_logical(disk, start)
    primary = [
        one for one, (kind, _, _) in zip(found, filter(lambda e: e[0], entries), strict=True) if kind not in EXTENDED
    ]
    return _inside(disk, [*primary, *logical])


def _read_logical(disk: Content, extended: int) -> list[Partition]:
    found: list[Partition] = []
    place, seen = extended, set[int]()
    while place not in seen:
        if len(found) >= MAX_LOGICAL:
            _refuse("MBR", f"more than {MAX_LOGICAL} logical partitions")
        seen.add(place)
        sector = disk.read_at(place * 512, 512)
        if sector[510:512] != MBR_SIGNATURE:
            break
        own, following = _mbr_entries(sector)[:2]
        if own[0]:
            found.append(Partition(5 + len(found), (place + own[1]) * 512, own[2] * 512))
        if following[0] not in EXTENDED:
            break
        place = extended + following[1]
    return found


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]]:
    """Give kind, start and size (sectors) of the four entries; a kind of 0 is an entry that is not used."""
    entries = [MBR_ENTRY.unpack_from(sector, MBR_TABLE + number * 16) for number in range(4)]
    return [(kind if size else 0, start, size) for _, kind, start, size in entries]


def _read_gpt(disk: Content) -> tuple[Partition, ...]:
    for sector in (512, 4096):
        for place in (sector, disk.get_size() - disk.get_size() % sector - sector):
            header = disk.read_at(place, sector)
            if _is_gpt(header):
                return _inside(disk, _gpt_entries(disk, header, sector))
    return _refuse("GPT", "neither of its headers can be believed")


def _is_gpt(header: bytes) -> bool:
    if len(header) < GPT_HEADER.size or not header.startswith(GPT_SIGNATURE):
        return False
    size, said = struct.unpack_from("<II", header, 12)
    if not GPT_HEADER.size <= size <= len(header):
        return False
    return zlib.crc32(header[:16] + bytes(4) + header[20:size]) == int(said)


def _gpt_entries(disk: Content, header: bytes, sector: int) -> list[Partition]:
    *_, entries_lba, count, entry_size, _ = GPT_HEADER.unpack_from(header)
    if count > MAX_ENTRIES or entry_size % 8 or not GPT_ENTRY.size <= entry_size <= 4096:
        _refuse("GPT", f"{count} entries of {entry_size} bytes")
    table = disk.read_at(entries_lba * sector, count * entry_size)
    if len(table) < count * entry_size:
        _refuse("GPT", "its entries are not inside the disk")
    found = []
    for number in range(count):
        kind, _, first, last, _ = GPT_ENTRY.unpack_from(table, number * entry_size)
        if kind != bytes(16) and last >= first:
            found.append(Partition(number + 1, first * sector, (last - first + 1) * sector))
    return found


def _inside(disk: Content, partitions: list[Partition]) -> tuple[Partition, ...]:
    size = disk.get_size()
    kept = (one for one in partitions if one.start < size)
    return tuple(Partition(one.number, one.start, min(one.size, size - one.start)) for one in kept)


def _refuse(what: str, why: str) -> NoReturn:
    raise MapError(f"partition table of the guest, {what}: {why}")
