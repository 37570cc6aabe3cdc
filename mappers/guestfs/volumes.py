"""The volumes on a guest disk: the disk itself, its partitions, the logical volumes upon these; and what is in each."""

from dataclasses import dataclass

from vio.errors import MapError
from vio.mappers.extent import RangeMap
from vio.mappers.guestfs import ext4, ntfs, xfs
from vio.mappers.guestfs.content import Content, volume_content
from vio.mappers.guestfs.lvm import LogicalVolume, PhysicalVolume, logical_volumes, read_physical_volume
from vio.mappers.guestfs.partition import read_partitions
from vio.mappers.raw import map_raw

EXT, XFS, NTFS, LVM, NOTHING = "ext4", "xfs", "ntfs", "LVM", ""
_SIGNATURES = (
    (ext4.MAGIC_OFFSET, ext4.MAGIC, EXT),
    (0, xfs.MAGIC, XFS),
    (ntfs.MAGIC_OFFSET, ntfs.MAGIC, NTFS),
    (0x10040, b"_BHRfS_M", "btrfs"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (4086, b"SWAPSPACE2", "swap"),
    (0x52, b"FAT32   ", "FAT"),
    (0x36, b"FAT1", "FAT"),
    (0x400, b"\x10\x20\xf5\xf2", "f2fs"),
    (32769, b"CD001", "iso9660"),
)


@dataclass(frozen=True, slots=True)
class Volume:
    """A stretch of the guest disk with something in it: `name` is disk, p1 ... or group/volume.

    `holds` names the file system or what else was found, "" where that is not known; `ranges` takes its bytes to the
    guest disk.
    """

    name: str
    size: int
    holds: str
    ranges: RangeMap
    content: Content
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Tell whether all of it is on this disk."""
        return bool((self.ranges.target >= 0).all()) and int(self.ranges.length.sum()) == self.size


def find_volumes(disk: Content, guest: str) -> tuple[tuple[Volume, ...], tuple[str, ...]]:
    """Find the volumes of a guest disk, and notes on what could not be read."""
    notes: list[str] = []
    whole = _volume("disk", map_raw(disk.get_size(), "guest-volume:disk", guest), disk.get_size(), disk)
    volumes = [] if whole.holds == NOTHING else [whole]
    if not volumes:
        try:
            for one in read_partitions(disk):
                ranges = map_raw(one.size, f"guest-volume:p{one.number}", guest, one.start)
                volumes.append(_volume(f"p{one.number}", ranges, one.size, disk))
        except MapError as error:
            notes.append(str(error))
    try:
        physical = [found for volume in volumes if (found := _physical(volume))]
        volumes += [_logical(one, disk) for one in logical_volumes(physical, guest)]
    except MapError as error:
        notes.append(str(error))
    return tuple(volumes), tuple(notes)


def _physical(volume: Volume) -> PhysicalVolume | None:
    start = int(volume.ranges.target[0]) if len(volume.ranges) else 0
    return read_physical_volume(volume.content, start) if volume.holds == LVM else None


def _logical(one: LogicalVolume, disk: Content) -> Volume:
    return _volume(one.name, one.ranges, one.size, disk, one.notes)


def _volume(name: str, ranges: RangeMap, size: int, disk: Content, notes: tuple[str, ...] = ()) -> Volume:
    content = volume_content(disk, ranges, size)
    return Volume(name, size, _held_by(content), ranges, content, notes)


def _held_by(content: Content) -> str:
    labels = content.read_at(0, 2048)
    if any(labels[at : at + 8] == b"LABELONE" for at in range(0, 2048, 512)):
        return LVM
    for offset, magic, name in _SIGNATURES:
        if content.read_at(offset, len(magic)) == magic:
            return name
    return NOTHING
