"""The qcow2 header: read it, and believe no field of it before it is checked."""

import os
from dataclasses import dataclass
from typing import NoReturn

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.openfile import File, read_at
from vio.mappers.qcow2 import layout as fmt

_KEPT = (
    "version",
    "cluster_bits",
    "size",
    "l1_size",
    "l1_table_offset",
    "compatible_features",
    "compression_type",
    "refcount_order",
    "refcount_table_offset",
    "refcount_table_clusters",
    "nb_snapshots",
    "snapshots_offset",
)


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """A checked header; sizes and offsets in bytes but for `l1_size`, which counts entries.

    `encryption_header` and `bitmap_directory` are offset and length, (0, 0) where there is none. `backing_file` and
    `data_file` are text from an untrusted image: names to show, not to open.
    """

    version: int
    cluster_bits: int
    size: int
    crypt_method: fmt.CryptMethod
    l1_size: int
    l1_table_offset: int
    incompatible_features: fmt.Incompatible
    compatible_features: int
    compression_type: int
    refcount_order: int
    refcount_table_offset: int
    refcount_table_clusters: int
    nb_snapshots: int
    snapshots_offset: int
    encryption_header: tuple[int, int]
    bitmap_directory: tuple[int, int]
    backing_file: str | None
    backing_format: str | None
    data_file: str | None
    is_active: bool = True
    """False for the tables of a snapshot, in which the COPIED bits do not count."""

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def subcluster_size(self) -> int:
        """Bytes that are allocated at once: of a cluster with an extended L2 entry a part."""
        return self.cluster_size // fmt.SUBCLUSTERS if self.has_extended_l2 else self.cluster_size

    @property
    def has_extended_l2(self) -> bool:
        """Tell whether L2 entries are 16 bytes and a cluster has 32 subclusters."""
        return bool(self.incompatible_features & fmt.Incompatible.EXTENDED_L2)

    @property
    def has_data_file(self) -> bool:
        """Tell whether guest data lies in another file, which the L2 offsets then refer to."""
        return bool(self.incompatible_features & fmt.Incompatible.EXTERNAL_DATA_FILE)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Say what is out of the ordinary about the image: words for people."""
        marks = {
            "not closed in order (dirty bit)": self.incompatible_features & fmt.Incompatible.DIRTY,
            "marked corrupt: QEMU will not write to it": self.incompatible_features & fmt.Incompatible.CORRUPT,
            "lazy refcounts": self.compatible_features & fmt.Compatible.LAZY_REFCOUNTS,
        }
        return tuple(text for text, is_so in marks.items() if is_so)

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_size // (16 if self.has_extended_l2 else 8)

    @property
    def l1_entries(self) -> int:
        """L1 entries that the guest disk needs; those after them belong to the saved VM state."""
        return -(-self.size // (self.cluster_size * self.l2_entries))


def read_header(fd: File) -> Qcow2Header:
    """Read and check the header of a qcow2 image; raise MapError that names the first bad field."""
    data = read_at(fd, fmt.HEADER_V2.size + fmt.HEADER_V3.size + 8, 0)
    if len(data) < fmt.HEADER_V2.size or not data.startswith(fmt.MAGIC):
        _refuse("magic", "this is no qcow2 image")
    fields = dict(zip(fmt.HEADER_V2_FIELDS, fmt.HEADER_V2.unpack_from(data), strict=True))
    fields |= _features(data, fields["version"])
    _check_geometry(fields)
    _check_tables(fields)
    places = _extensions(fd, fields)
    header = Qcow2Header(
        **{name: fields[name] for name in _KEPT},
        crypt_method=fmt.CryptMethod(fields["crypt_method"]),
        incompatible_features=fmt.Incompatible(fields["incompatible_features"]),
        encryption_header=_stated_place(fd, places, fmt.Extension.FULL_DISK_ENCRYPTION),
        bitmap_directory=_stated_place(fd, places, fmt.Extension.BITMAPS),
        backing_file=_backing_file(fd, fields),
        backing_format=_text(fd, places, fmt.Extension.BACKING_FORMAT),
        data_file=_text(fd, places, fmt.Extension.EXTERNAL_DATA_FILE),
    )
    if header.l1_size < header.l1_entries:
        _refuse("l1_size", f"{header.l1_size} entries cannot map a disk of {header.size} bytes")
    return header


def _features(data: bytes, version: int) -> dict[str, int]:
    if version == 2:
        values = (0, 0, 0, 4, fmt.HEADER_V2.size)
        return dict(zip(fmt.HEADER_V3_FIELDS, values, strict=True)) | {"compression_type": 0}
    if version != 3:
        _refuse("version", f"{version} is neither 2 nor 3")
    if len(data) < fmt.HEADER_V3_LENGTH:
        _refuse("header_length", "the file ends inside the header")
    values = fmt.HEADER_V3.unpack_from(data, fmt.HEADER_V2.size)
    fields = dict(zip(fmt.HEADER_V3_FIELDS, values, strict=True))
    has_type = fields["header_length"] > fmt.COMPRESSION_TYPE_OFFSET < len(data)
    return fields | {"compression_type": data[fmt.COMPRESSION_TYPE_OFFSET] if has_type else 0}


def _check_geometry(fields: dict[str, int]) -> None:
    bits, features = fields["cluster_bits"], fields["incompatible_features"]
    unknown = features & ~int(~fmt.Incompatible(0))
    if unknown:
        _refuse("incompatible_features", f"unknown bits {unknown:#x}")
    least = fmt.MIN_EXTENDED_CLUSTER_BITS if features & fmt.Incompatible.EXTENDED_L2 else fmt.MIN_CLUSTER_BITS
    if not least <= bits <= fmt.MAX_CLUSTER_BITS:
        _refuse("cluster_bits", f"{bits} is not within {least}..{fmt.MAX_CLUSTER_BITS}")
    if fields["size"] > LAST:
        _refuse("size", f"{fields['size']} bytes are more than a disk can have")
    if fields["crypt_method"] not in list(fmt.CryptMethod):
        _refuse("crypt_method", f"{fields['crypt_method']} is unknown")
    if fields["refcount_order"] > fmt.MAX_REFCOUNT_ORDER:
        _refuse("refcount_order", f"{fields['refcount_order']} is above {fmt.MAX_REFCOUNT_ORDER}")
    length = fields["header_length"]
    if fields["version"] > 2 and not fmt.HEADER_V3_LENGTH <= length <= 1 << bits:
        _refuse("header_length", f"{length} is not within {fmt.HEADER_V3_LENGTH}..{1 << bits}")
    has_type_bit = bool(features & fmt.Incompatible.COMPRESSION_TYPE)
    kind = fields["compression_type"]
    if kind > fmt.MAX_COMPRESSION_TYPE or has_type_bit != (kind != 0):
        _refuse("compression_type", f"{kind} is unknown or contradicts incompatible_features")


def _check_tables(fields: dict[str, int]) -> None:
    cluster_size = 1 << fields["cluster_bits"]
    for name in ("l1_table_offset", "refcount_table_offset", "snapshots_offset"):
        if fields[name] % cluster_size or fields[name] > LAST:
            _refuse(name, f"{fields[name]:#x} is not aligned to a cluster, or too great")
    if fields["l1_size"] * 8 > fmt.MAX_L1_BYTES:
        _refuse("l1_size", f"{fields['l1_size']} entries are more than {fmt.MAX_L1_BYTES} bytes")
    if fields["refcount_table_clusters"] * cluster_size > fmt.MAX_REFCOUNT_TABLE_BYTES:
        _refuse("refcount_table_clusters", f"{fields['refcount_table_clusters']} is too great")
    if fields["nb_snapshots"] > fmt.MAX_SNAPSHOTS:
        _refuse("nb_snapshots", f"{fields['nb_snapshots']} is above {fmt.MAX_SNAPSHOTS}")


def _backing_file(fd: File, fields: dict[str, int]) -> str | None:
    offset, size = fields["backing_file_offset"], fields["backing_file_size"]
    if offset == 0:
        return None
    if size > fmt.MAX_BACKING_FILE_SIZE or offset + size > 1 << fields["cluster_bits"]:
        _refuse("backing_file_offset", f"a name of {size} bytes at {offset:#x} is not in the first cluster")
    return _read_name(fd, offset, size, "backing_file_size")


def _extensions(fd: File, fields: dict[str, int]) -> dict[int, tuple[int, int]]:
    """Find the header extensions: offset and length of each one's data."""
    # They end where the backing file's name begins, or with the first cluster.
    offset = fields["header_length"]
    end = min(fields["backing_file_offset"] or LAST, 1 << fields["cluster_bits"])
    places: dict[int, tuple[int, int]] = {}
    while offset + fmt.EXTENSION_HEADER.size <= end:
        head = read_at(fd, fmt.EXTENSION_HEADER.size, offset)
        if len(head) < fmt.EXTENSION_HEADER.size:
            break
        kind, length = fmt.EXTENSION_HEADER.unpack(head)
        if kind == fmt.Extension.END:
            break
        offset += fmt.EXTENSION_HEADER.size
        if length > end - offset:
            _refuse("header extension", f"{kind:#x} of {length} bytes is longer than its room")
        places[kind] = (offset, length)
        offset += -(-length // 8) * 8
    return places


def _text(fd: File, places: dict[int, tuple[int, int]], kind: fmt.Extension) -> str | None:
    return _read_name(fd, *places[kind], "header extension") if kind in places else None


def _stated_place(fd: File, places: dict[int, tuple[int, int]], kind: fmt.Extension) -> tuple[int, int]:
    """Read the offset and length that an extension states of something that lies elsewhere in the file."""
    if kind not in places:
        return (0, 0)
    form = fmt.ENCRYPTION_HEADER if kind is fmt.Extension.FULL_DISK_ENCRYPTION else fmt.BITMAPS_HEADER
    offset, length = places[kind]
    data = read_at(fd, min(length, form.size), offset)
    if len(data) < form.size:
        _refuse("header extension", f"{kind.name} of {length} bytes is shorter than its fields")
    values = form.unpack(data)
    place = (values[-2], values[-1]) if kind is fmt.Extension.FULL_DISK_ENCRYPTION else (values[-1], values[-2])
    if max(place) > LAST >> 1:
        _refuse("header extension", f"{kind.name} is said to lie at {place[0]:#x}")
    return place


def _read_name(fd: File, offset: int, size: int, field: str) -> str:
    name = read_at(fd, size, offset)
    if len(name) < size or b"\0" in name:
        _refuse(field, "the name is cut off or holds a zero byte")
    return os.fsdecode(name)


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"qcow2 header, {field}: {why}", "look at the image with: qemu-img check")
