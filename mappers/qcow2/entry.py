"""L2 entries of qcow2 to rows of a map: standard and extended ones, arrays of them at once."""

from typing import NoReturn

import numpy as np
import numpy.typing as npt

from vio.errors import MapError
from vio.mappers.extent import NOWHERE, Rows
from vio.mappers.kind import Bools, Flag, Ints, Kind, Kinds
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.header import Qcow2Header

Entries = npt.NDArray[np.uint64]


def decode_standard(header: Qcow2Header, cluster: Ints, entry: Entries) -> Rows:
    """Give one row for each L2 entry; `cluster` is the guest cluster that each is for."""
    is_compressed, is_allocated, host = _common(header, cluster, entry)
    is_zero = _has(entry, fmt.L2_ZERO) & ~is_compressed
    if header.version < 3:
        _refuse_any(is_zero, cluster, header, "zero cluster in an image of version 2")
    kind = np.where(is_allocated, _mapped(header, entry), np.uint8(Kind.UNALLOCATED))
    kind[is_zero] = Kind.ZERO
    # A zero cluster's offset counts only if it is not 0, in an external data file too.
    target = np.where(is_allocated & ~(is_zero & (host == 0)), host, NOWHERE)
    rows = _clusters(header, cluster, kind, target)
    return _with_compressed(header, rows, entry, is_compressed)


def decode_extended(header: Qcow2Header, cluster: Ints, entry: Entries, bitmap: Entries) -> Rows:
    """Give one row for each compressed cluster and for each subcluster of the others."""
    is_compressed, is_allocated, host = _common(header, cluster, entry)
    allocated, zero = bitmap & np.uint64(0xFFFFFFFF), bitmap >> np.uint64(fmt.SUBCLUSTERS)
    both = ((allocated & zero) != 0) & ~is_compressed
    _refuse_any(both, cluster, header, "a subcluster is both allocated and zero")
    plain = np.flatnonzero(~is_compressed)
    bit = np.arange(fmt.SUBCLUSTERS, dtype=np.uint64)
    has_data = ((allocated[plain, None] >> bit) & np.uint64(1)).astype(np.bool_) & is_allocated[plain, None]
    has_zero = ((zero[plain, None] >> bit) & np.uint64(1)).astype(np.bool_)
    kind = np.where(has_data, _mapped(header, entry)[plain, None], np.uint8(Kind.UNALLOCATED))
    kind[has_zero] = Kind.ZERO
    size = header.cluster_size // fmt.SUBCLUSTERS
    inside = np.arange(fmt.SUBCLUSTERS) * size
    # A subcluster that holds nothing yet has its place all the same, if the cluster has one.
    target = np.where(is_allocated[plain, None], host[plain, None] + inside, NOWHERE)
    stored = np.where(target < 0, 0, size)
    start = cluster[plain, None] * header.cluster_size + inside
    length = np.full(start.shape, size)
    subclusters = Rows(start.ravel(), length.ravel(), target.ravel(), stored.ravel(), kind.ravel())
    if len(plain) == len(entry):
        return subclusters
    whole = _clusters(header, cluster, np.zeros(len(entry), np.uint8), np.full(len(entry), NOWHERE))
    compressed = _with_compressed(header, whole, entry, is_compressed).take(is_compressed)
    joined = Rows.joined([subclusters, compressed])
    return joined.take(np.argsort(joined.start, kind="stable"))


def _common(header: Qcow2Header, cluster: Ints, entry: Entries) -> tuple[Bools, Bools, Ints]:
    """Tell which entries are compressed, which have a host cluster, and its offset."""
    is_compressed = _has(entry, fmt.L2_COMPRESSED)
    host = (entry & np.uint64(fmt.OFFSET_MASK)).astype(np.int64)
    is_allocated = host != 0
    if header.has_data_file:
        _refuse_any(is_compressed, cluster, header, "compressed cluster beside an external data file")
        is_allocated |= _has(entry, fmt.L2_COPIED)  # offset 0 is a place like any other there
    misplaced = ((host & (header.cluster_size - 1)) != 0) & ~is_compressed
    _refuse_any(misplaced, cluster, header, "host cluster is not aligned")
    return is_compressed, is_allocated & ~is_compressed, host


def _clusters(header: Qcow2Header, cluster: Ints, kind: Kinds, target: Ints) -> Rows:
    size = np.int64(header.cluster_size)
    length = np.full(len(cluster), size)
    return Rows(cluster * size, length, target, np.where(target < 0, 0, size), kind)


def _with_compressed(header: Qcow2Header, rows: Rows, entry: Entries, is_compressed: Bools) -> Rows:
    which = np.flatnonzero(is_compressed)
    if len(which) == 0:
        return rows
    packed = entry[which].astype(np.int64)
    offset_bits = 62 - (header.cluster_bits - 8)
    offset = packed & ((1 << offset_bits) - 1)
    sectors = ((packed >> offset_bits) & ((1 << (header.cluster_bits - 8)) - 1)) + 1
    rows.target[which] = offset
    rows.target_length[which] = sectors * fmt.COMPRESSED_SECTOR - offset % fmt.COMPRESSED_SECTOR
    rows.kind[which] = Kind.COMPRESSED
    return rows


def _mapped(header: Qcow2Header, entry: Entries) -> Kinds:
    """Give the kind of data in place: a cluster that a snapshot has too is copied before it is written."""
    is_plain = header.crypt_method == fmt.CryptMethod.NONE
    kind = np.full(len(entry), Kind.MAPPED if is_plain else Kind.MAPPED | Flag.ENCRYPTED, dtype=np.uint8)
    if header.is_active and header.nb_snapshots and not header.has_data_file:
        kind[~_has(entry, fmt.L2_COPIED)] |= np.uint8(Flag.SHARED)
    return kind


def _has(entry: Entries, bit: int) -> Bools:
    return np.asarray((entry & np.uint64(bit)) != 0, dtype=np.bool_)


def _refuse_any(bad: Bools, cluster: Ints, header: Qcow2Header, why: str) -> None:
    if bad.any():
        _refuse(int(cluster[np.argmax(bad)]) * header.cluster_size, why)


def _refuse(guest_offset: int, why: str) -> NoReturn:
    raise MapError(f"qcow2 L2 entry of guest offset {guest_offset:#x}: {why}", "try: qemu-img check")
