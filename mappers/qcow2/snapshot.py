"""Internal snapshots of a qcow2 image: the table of them, and the header as it was at one."""

from dataclasses import dataclass, replace
from typing import NoReturn

from vio.errors import MapError, UsageError
from vio.mappers.bounds import LAST
from vio.mappers.openfile import File, read_at
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.header import Qcow2Header
from vio.printable import printable


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One internal snapshot; `size` is that of the disk then, in bytes, `l1_size` counts entries."""

    id: str
    name: str
    size: int
    l1_table_offset: int
    l1_size: int


def read_snapshots(fd: File, header: Qcow2Header) -> tuple[Snapshot, ...]:
    """Read the snapshot table; raise MapError that names the field that cannot be believed."""
    found = []
    offset = header.snapshots_offset
    for number in range(header.nb_snapshots):
        snapshot, offset = _read_one(fd, header, number, offset)
        found.append(snapshot)
    return tuple(found)


def table_length(fd: File, header: Qcow2Header) -> int:
    """Tell how many bytes the snapshot table takes."""
    end = header.snapshots_offset
    for number in range(header.nb_snapshots):
        _, end = _read_one(fd, header, number, end)
    return end - header.snapshots_offset


def at_snapshot(fd: File, header: Qcow2Header, name: str) -> Qcow2Header:
    """Give the header with the tables of a snapshot, by its name or id.

    Raises:
        UsageError: There is none of that name.
        MapError: The snapshot table cannot be believed.
    """
    snapshots = read_snapshots(fd, header)
    for chosen in (*(s for s in snapshots if s.name == name), *(s for s in snapshots if s.id == name)):
        then = replace(header, size=chosen.size, l1_size=chosen.l1_size, l1_table_offset=chosen.l1_table_offset)
        if then.l1_size < then.l1_entries:
            _refuse(f"{chosen.id}: l1_size", f"{then.l1_size} entries cannot map {then.size} bytes")
        return replace(then, is_active=False)
    known = ", ".join(printable(snapshot.name) for snapshot in snapshots) or "none"
    raise UsageError(f"the image has no snapshot {printable(name)}", f"its snapshots: {known}")


def _read_one(fd: File, header: Qcow2Header, number: int, offset: int) -> tuple[Snapshot, int]:
    fixed = read_at(fd, fmt.SNAPSHOT.size, offset)
    if len(fixed) < fmt.SNAPSHOT.size:
        _refuse(str(number), "it is not inside the file")
    l1_offset, l1_size, id_size, name_size, _, _, _, _, extra_size = fmt.SNAPSHOT.unpack(fixed)
    if extra_size > fmt.MAX_SNAPSHOT_EXTRA:
        _refuse(f"{number}: extra_data_size", f"{extra_size} is above {fmt.MAX_SNAPSHOT_EXTRA}")
    if l1_offset % header.cluster_size or l1_offset > LAST >> 1:
        _refuse(f"{number}: l1_table_offset", f"{l1_offset:#x} is not aligned to a cluster, or too great")
    if l1_size * 8 > fmt.MAX_L1_BYTES:
        _refuse(f"{number}: l1_size", f"{l1_size} entries are more than {fmt.MAX_L1_BYTES} bytes")
    rest = read_at(fd, extra_size + id_size + name_size, offset + len(fixed))
    if len(rest) < extra_size + id_size + name_size:
        _refuse(str(number), "it is not inside the file")
    has_size = extra_size >= fmt.SNAPSHOT_EXTRA.size
    size = fmt.SNAPSHOT_EXTRA.unpack_from(rest)[1] if has_size else header.size
    if size > LAST:
        _refuse(f"{number}: disk size", f"{size} bytes are more than a disk can have")
    texts = rest[extra_size : extra_size + id_size], rest[extra_size + id_size :]
    id_text, name = (text.decode(errors="surrogateescape") for text in texts)
    length = len(fixed) + len(rest)
    return Snapshot(id_text, name, size, l1_offset, l1_size), offset + -(-length // 8) * 8


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"qcow2 snapshot {field}: {why}", "look at the image with: qemu-img check")
