"""The qcow2 format: fields, bits and limits, named as QEMU's docs/interop/qcow2.txt names them.

Everything on disk is big endian; offsets are bytes from the start of the image file.
"""

import struct
from enum import IntEnum, IntFlag

MAGIC = b"QFI\xfb"

HEADER_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
HEADER_V2_FIELDS = (
    "magic",
    "version",
    "backing_file_offset",
    "backing_file_size",
    "cluster_bits",
    "size",
    "crypt_method",
    "l1_size",
    "l1_table_offset",
    "refcount_table_offset",
    "refcount_table_clusters",
    "nb_snapshots",
    "snapshots_offset",
)
HEADER_V3 = struct.Struct(">QQQII")
HEADER_V3_FIELDS = (
    "incompatible_features",
    "compatible_features",
    "autoclear_features",
    "refcount_order",
    "header_length",
)
COMPRESSION_TYPE_OFFSET = 104
HEADER_V3_LENGTH = 104

EXTENSION_HEADER = struct.Struct(">II")


class Extension(IntEnum):
    """Header extensions that this package reads."""

    END = 0x00000000
    FULL_DISK_ENCRYPTION = 0x0537BE77
    BITMAPS = 0x23852875
    BACKING_FORMAT = 0xE2792ACA
    EXTERNAL_DATA_FILE = 0x44415441


class Incompatible(IntFlag):
    """Incompatible features; an image with any other bit cannot be read."""

    DIRTY = 1 << 0
    CORRUPT = 1 << 1
    EXTERNAL_DATA_FILE = 1 << 2
    COMPRESSION_TYPE = 1 << 3
    EXTENDED_L2 = 1 << 4


class Compatible(IntFlag):
    """Compatible features: an image with a bit that is not known can be read all the same."""

    LAZY_REFCOUNTS = 1 << 0


class CryptMethod(IntEnum):
    """How the guest data is encrypted; addresses are the same either way."""

    NONE = 0
    AES = 1
    LUKS = 2


MIN_CLUSTER_BITS = 9
MAX_CLUSTER_BITS = 21
MIN_EXTENDED_CLUSTER_BITS = 14
MAX_L1_BYTES = 32 << 20
MAX_REFCOUNT_TABLE_BYTES = 8 << 20
MAX_REFCOUNT_ORDER = 6
MAX_SNAPSHOTS = 65536
MAX_SNAPSHOT_EXTRA = 1024
MAX_BACKING_FILE_SIZE = 1023
MAX_COMPRESSION_TYPE = 1

OFFSET_MASK = 0x00FFFFFFFFFFFE00
"""Bits 9-55 of an L1 or L2 entry: the host offset of a table or a cluster."""
L2_COPIED = 1 << 63
L2_COMPRESSED = 1 << 62
"""Test this before L2_ZERO: in a compressed entry bit 0 belongs to the offset."""
L2_ZERO = 1 << 0

SNAPSHOT = struct.Struct(">QIHHIIQII")
"""Snapshot table entry up to `extra_data_size`; extra data, id and name follow, padded to 8 bytes."""
SNAPSHOT_EXTRA = struct.Struct(">QQ")
"""`vm_state_size` and the disk's size at the time of the snapshot."""
ENCRYPTION_HEADER = struct.Struct(">QQ")
BITMAPS_HEADER = struct.Struct(">IIQQ")

SUBCLUSTERS = 32
COMPRESSED_SECTOR = 512
