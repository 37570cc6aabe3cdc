"""Which file of the guest, or which part of its file systems' metadata, lies where on the guest disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vio.errors import MapError, UsageError
from vio.mappers.extent import NOWHERE
from vio.mappers.guestfs.apart import walk_apart
from vio.mappers.guestfs.content import Content, disk_content
from vio.mappers.guestfs.ext4 import Areas, ext4_areas
from vio.mappers.guestfs.volumes import EXT, LVM, NOTHING, NTFS, XFS, Volume, find_volumes
from vio.mappers.guestfs.xfs import xfs_areas
from vio.mappers.images import OpenImage
from vio.mappers.kind import Ints
from vio.mappers.named import NamedRanges
from vio.printable import printable

_AREAS: dict[str, Callable[[Content], Areas]] = {EXT: ext4_areas, XFS: xfs_areas, NTFS: lambda volume: []}


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """The guest disk's files: names are `p1:/etc/passwd`, or `p1:[journal]` for metadata. `notes` are sentences."""

    ranges: NamedRanges
    volumes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_guest_files(chain: Sequence[OpenImage], guest: str) -> GuestFiles:
    """Read the guest's partition table, volumes and file systems through the map of its disk.

    It is read as it lies there: a running guest's newest files, and a journal that was not played back, are missing.

    Raises:
        MapError: The disk cannot be read at all.
    """
    volumes, notes = find_volumes(disk_content(chain, guest), guest)
    said = list(notes)
    parts: list[NamedRanges] = []
    for volume in volumes:
        said += [f"{volume.name}: {note}" for note in volume.notes]
        try:
            part = _files_of(volume, guest, said)
        except MapError as error:
            said.append(f"{volume.name}: {error}")
            continue
        parts.append(part)
    if not volumes:
        said.append("the guest disk has no partition table and no file system that is known")
    return GuestFiles(
        _joined(parts, guest), tuple(f"{one.name} ({one.holds or 'unknown'})" for one in volumes), (*said,)
    )


def find_file(files: GuestFiles, path: str) -> NamedRanges:
    """Give the ranges of one file, in the order of the file, by its path or by `volume:path`.

    Raises:
        UsageError: There is no such file, or there are several.
    """
    names = files.ranges.names
    found = [name for name in names if name == path or name.partition(":")[2] == path]
    if len(found) == 1:
        return files.ranges.of_owner(found[0])
    if found:
        raise UsageError(f"{printable(path)} is on several volumes", f"one of: {', '.join(map(printable, found))}")
    where = ", ".join(printable(one) for one in files.volumes) or "none"
    notes = "; ".join(printable(note) for note in files.notes)
    raise UsageError(f"the guest has no file {printable(path)}", f"its volumes: {where}{'; ' if notes else ''}{notes}")


def _files_of(volume: Volume, guest: str, notes: list[str]) -> NamedRanges:
    if volume.holds not in _AREAS:
        if volume.holds not in (NOTHING, LVM):
            notes.append(f"{volume.name}: {volume.holds} inside a guest is not supported: its files are unknown")
        return NamedRanges.of(guest, (), [], [], [])
    if not volume.is_whole:
        raise MapError("a part of it is not on this disk: its files are unknown")
    walked = walk_apart(volume.holds, volume.content)
    if walked.unreadable:
        notes.append(f"{volume.name}: {walked.unreadable} entries without extents that can be read (links, devices)")
    start, length, owner, offset = walked.columns()
    names = [f"{volume.name}:{path}" for path in walked.paths]
    columns = [(start, length, owner, offset)]
    try:
        areas = _AREAS[volume.holds](volume.content)
    except MapError as error:
        notes.append(f"{volume.name}: {error}")
        areas = []
    for name, begins, size in areas:
        count = len(begins)
        columns.append((begins, np.full(count, size), np.full(count, len(names)), np.zeros(count, dtype=np.int64)))
        names.append(f"{volume.name}:{name}")
    whole = [np.concatenate(column) for column in zip(*columns, strict=True)]
    return _on_disk(volume, guest, names, (whole[0], whole[1], whole[2], whole[3]))


def _on_disk(volume: Volume, guest: str, names: list[str], columns: tuple[Ints, Ints, Ints, Ints]) -> NamedRanges:
    """Take ranges of a volume to the guest disk; what an untrusted file system puts outside is dropped."""
    start, length, owner, offset = columns
    kept = (start >= 0) & (length > 0) & (start < volume.size)
    start, owner, offset = start[kept], owner[kept], offset[kept]
    pieces = volume.ranges.lookup(start, np.minimum(length[kept], volume.size - start))
    row, placed = pieces.request, pieces.target != NOWHERE
    inside = offset[row] + pieces.start - start[row]
    return NamedRanges.of(
        guest, names, pieces.target[placed], pieces.length[placed], owner[row][placed], inside[placed]
    )


def _joined(parts: list[NamedRanges], guest: str) -> NamedRanges:
    names: list[str] = []
    columns: list[tuple[Ints, Ints, Ints, Ints]] = [(np.empty(0, dtype=np.int64),) * 4]
    for part in parts:
        columns.append((part.start, part.length, part.owner + len(names), part.offset))
        names += part.names
    start, length, owner, offset = (np.concatenate(column) for column in zip(*columns, strict=True))
    return NamedRanges.of(guest, names, start, length, owner, offset)
