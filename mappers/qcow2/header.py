"""The qcow2 header: read it, and believe no field of it before it is checked."""

import os
from dataclasses import dataclass
from typing import NoReturn

from vio.errors import MapError
from vio.mappers.interval import LAST
from vio.mappers.qcow2 import layout as fmt


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """A checked header; sizes and offsets in bytes but for `l1_size`, which counts entries.

    `backing_file` and `data_file` are text from an untrusted image: names to show, not to open.
    """

    version: int
    cluster_bits: int
    size: int
    crypt_method: fmt.CryptMethod
    l1_size: int
    l1_table_offset: int
    incompatible_features: fmt.Incompatible
    compression_type: int
    nb_snapshots: int
    backing_file: str | None
    backing_format: str | None
    data_file: str | None

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def has_extended_l2(self) -> bool:
        """Tell whether L2 entries are 16 bytes and a cluster has 32 subclusters."""
        return bool(self.incompatible_features & fmt.Incompatible.EXTENDED_L2)

    @property
    def has_data_file(self) -> bool:
        """Tell whether guest data lies in another file, which the L2 offsets then refer to."""
        return bool(self.incompatible_features & fmt.Incompatible.EXTERNAL_DATA_FILE)

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_size // (16 if self.has_extended_l2 else 8)

    @property
    def l1_entries(self) -> int:
        """L1 entries that the guest disk needs; those after them belong to the saved VM state."""
        return -(-self.size // (self.cluster_size * self.l2_entries))


def read_header(fd: int) -> Qcow2Header:
    """Read and check the header of a qcow2 image; raise MapError that names the first bad field."""
    data = os.pread(fd, fmt.HEADER_V2.size + fmt.HEADER_V3.size + 8, 0)
    if len(data) < fmt.HEADER_V2.size or not data.startswith(fmt.MAGIC):
        _refuse("magic", "this is no qcow2 image")
    fields = dict(zip(fmt.HEADER_V2_FIELDS, fmt.HEADER_V2.unpack_from(data), strict=True))
    fields |= _features(data, fields["version"])
    _check_geometry(fields)
    _check_tables(fields)
    names = _read_names(fd, fields)
    header = Qcow2Header(
        version=fields["version"],
        cluster_bits=fields["cluster_bits"],
        size=fields["size"],
        crypt_method=fmt.CryptMethod(fields["crypt_method"]),
        l1_size=fields["l1_size"],
        l1_table_offset=fields["l1_table_offset"],
        incompatible_features=fmt.Incompatible(fields["incompatible_features"]),
        compression_type=fields["compression_type"],
        nb_snapshots=fields["nb_snapshots"],
        backing_file=_backing_file(fd, fields),
        backing_format=names.get(fmt.Extension.BACKING_FORMAT),
        data_file=names.get(fmt.Extension.EXTERNAL_DATA_FILE),
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


def _backing_file(fd: int, fields: dict[str, int]) -> str | None:
    offset, size = fields["backing_file_offset"], fields["backing_file_size"]
    if offset == 0:
        return None
    if size > fmt.MAX_BACKING_FILE_SIZE or offset + size > 1 << fields["cluster_bits"]:
        _refuse("backing_file_offset", f"a name of {size} bytes at {offset:#x} is not in the first cluster")
    return _read_name(fd, offset, size, "backing_file_size")


def _read_names(fd: int, fields: dict[str, int]) -> dict[int, str]:
    # The extensions end where the backing file's name begins, or with the first cluster.
    offset = fields["header_length"]
    end = min(fields["backing_file_offset"] or LAST, 1 << fields["cluster_bits"])
    names: dict[int, str] = {}
    while offset + fmt.EXTENSION_HEADER.size <= end:
        head = os.pread(fd, fmt.EXTENSION_HEADER.size, offset)
        if len(head) < fmt.EXTENSION_HEADER.size:
            break
        kind, length = fmt.EXTENSION_HEADER.unpack(head)
        if kind == fmt.Extension.END:
            break
        offset += fmt.EXTENSION_HEADER.size
        if length > end - offset:
            _refuse("header extension", f"{kind:#x} of {length} bytes is longer than its room")
        if kind in (fmt.Extension.BACKING_FORMAT, fmt.Extension.EXTERNAL_DATA_FILE):
            names[kind] = _read_name(fd, offset, length, "header extension")
        offset += -(-length // 8) * 8
    return names


def _read_name(fd: int, offset: int, size: int, field: str) -> str:
    name = os.pread(fd, size, offset)
    if len(name) < size or b"\0" in name:
        _refuse(field, "the name is cut off or holds a zero byte")
    return os.fsdecode(name)


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"qcow2 header, {field}: {why}", "look at the image with: qemu-img check")
