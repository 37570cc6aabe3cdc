"""FIEMAP: which bytes of a host file lie where on the block device of its file system.

Addresses are relative to the device that the file system says it is on. That holds for ext4 and xfs; btrfs
answers with addresses of its own (vio.mappers.hostfs.filesystem tells which is which).
"""

import errno
import fcntl
import os
import struct
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Flag, Ints, Kind, Kinds

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC = 0x1
BATCH_EXTENTS = 512

HEADER = struct.Struct("=QQIIII")
EXTENT = np.dtype(
    [
        ("logical", "=u8"),
        ("physical", "=u8"),
        ("length", "=u8"),
        ("reserved64", "=u8", (2,)),
        ("flags", "=u4"),
        ("reserved", "=u4", (3,)),
    ]
)


class ExtentFlag(IntFlag):
    """`fe_flags`, as linux/fiemap.h names them."""

    LAST = 0x0001
    UNKNOWN = 0x0002
    DELALLOC = 0x0004
    ENCODED = 0x0008
    DATA_ENCRYPTED = 0x0080
    NOT_ALIGNED = 0x0100
    DATA_INLINE = 0x0200
    DATA_TAIL = 0x0400
    UNWRITTEN = 0x0800
    MERGED = 0x1000
    SHARED = 0x2000


Extents = npt.NDArray[np.void]


def read_extents(fd: int, sync: bool = False) -> Extents:
    """Ask the kernel for all extents of a file, as an array of `EXTENT`; bytes throughout.

    With `sync` the file is flushed first, which gives delayed allocations an address and disturbs what is
    measured. A file that changes meanwhile may come out as a mixture of before and after.
    """
    batches: list[Extents] = []
    start = 0
    while True:
        batch = _read_batch(fd, start, FIEMAP_FLAG_SYNC if sync else 0)
        if len(batch) == 0:
            break
        batches.append(batch)
        last = batch[-1]
        end = int(last["logical"]) + int(last["length"])
        if int(last["flags"]) & ExtentFlag.LAST or not start < end <= LAST:
            break
        start = end
    return np.concatenate(batches) if batches else np.empty(0, dtype=EXTENT)


def map_file(fd: int, source_space: str, target_space: str, sync: bool = False) -> RangeMap:
    """Map a host file to the block device of its file system; its holes are UNALLOCATED.

    Extents beyond the end of the file (preallocated ones) are kept.

    Raises:
        MapError: The file system has no FIEMAP, or answers with a flag that is not known.
    """
    extents = read_extents(fd, sync)
    flags = extents["flags"].astype(np.int64)
    unknown = flags & ~int(~ExtentFlag(0))
    if unknown.any():
        raise MapError(f"{source_space}: FIEMAP gave unknown flags {int(unknown[unknown != 0][0]):#x}")
    start, length, physical = (_signed(extents[name]) for name in ("logical", "length", "physical"))
    # A batch may begin with the whole of an extent whose head ended the batch before.
    overlap = np.zeros(len(start), dtype=np.int64)
    overlap[1:] = np.clip(start[:-1] + length[:-1] - start[1:], 0, length[1:])
    start, length, physical = start + overlap, length - overlap, physical + overlap
    kind, has_target = _kinds(flags, physical)
    target = np.where(has_target, physical, NOWHERE)
    kept = length > 0
    found = RangeMap.of(source_space, target_space, start[kept], length[kept], target[kept], kind[kept])
    size = max(os.fstat(fd).st_size, int(found.end[-1]) if len(found) else 0)
    return found.fill(size, Kind.UNALLOCATED).coalesce()


def _read_batch(fd: int, start: int, flags: int) -> Extents:
    request = bytearray(HEADER.size + BATCH_EXTENTS * EXTENT.itemsize)
    HEADER.pack_into(request, 0, start, LAST - start, flags, 0, BATCH_EXTENTS, 0)
    try:
        fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EBADR, errno.EINVAL):
            raise
        raise MapError("the file system does not tell where its files lie (no FIEMAP)") from error
    count = HEADER.unpack_from(request)[3]
    return np.frombuffer(request, dtype=EXTENT, count=min(count, BATCH_EXTENTS), offset=HEADER.size)


def _kinds(flags: Ints, physical: Ints) -> tuple[Kinds, npt.NDArray[np.bool_]]:
    kind = np.full(len(flags), Kind.MAPPED, dtype=np.uint8)
    inline = (flags & (ExtentFlag.DATA_INLINE | ExtentFlag.DATA_TAIL)) != 0
    # Encryption by the file system leaves the bytes in their places; other encodings do not.
    kind[(flags & (ExtentFlag.ENCODED | ExtentFlag.DATA_ENCRYPTED)) == ExtentFlag.ENCODED] = Kind.ENCODED
    kind[inline] = Kind.INLINE
    kind[(flags & ExtentFlag.UNKNOWN) != 0] = Kind.UNMAPPED
    kind[(flags & ExtentFlag.DELALLOC) != 0] = Kind.DELALLOC
    has_target = (flags & (ExtentFlag.UNKNOWN | ExtentFlag.DELALLOC)) == 0
    for theirs, ours in (
        (ExtentFlag.UNWRITTEN, Flag.UNWRITTEN),
        (ExtentFlag.SHARED, Flag.SHARED),
        (ExtentFlag.DATA_ENCRYPTED, Flag.ENCRYPTED),
    ):
        kind[(flags & theirs) != 0] |= np.uint8(ours)
    return kind, has_target & ~(inline & (physical == 0))


def _signed(values: npt.NDArray[np.uint64]) -> Ints:
    return np.minimum(values, np.uint64(LAST)).astype(np.int64)
