"""What a qcow2 file holds besides guest data: which bytes are header, L1, L2, refcounts, snapshots, bitmaps."""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.kind import Ints
from vio.mappers.named import NamedRanges
from vio.mappers.openfile import File, read_at
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.header import Qcow2Header
from vio.mappers.qcow2.snapshot import read_snapshots, table_length
from vio.mappers.qcow2.walk import read_l1

NAMES = (
    "header",
    "L1 table",
    "L2 table",
    "refcount table",
    "refcount block",
    "snapshot table",
    "snapshot's L1 table",
    "bitmap directory",
    "encryption header",
)
Area = tuple[str, Ints, int]
"""A name, offsets in the file, and the length of what lies at each."""


def metadata_areas(fd: File, header: Qcow2Header, space: str) -> NamedRanges:
    """Name the ranges of the image file that hold metadata; the L2 tables of snapshots alone are not among them.

    Raises:
        MapError: A table cannot be believed.
    """
    size, offsets = header.cluster_size, read_l1(fd, header)
    areas: list[Area] = [
        ("header", np.zeros(1, dtype=np.int64), size),
        ("L1 table", np.array([header.l1_table_offset]), header.l1_size * 8),
        ("L2 table", offsets[offsets != 0], size),
        *_refcounts(fd, header),
    ]
    if header.nb_snapshots:
        areas.append(("snapshot table", np.array([header.snapshots_offset]), table_length(fd, header)))
        areas += [
            ("snapshot's L1 table", np.array([one.l1_table_offset]), one.l1_size * 8)
            for one in read_snapshots(fd, header)
        ]
    for name, (offset, length) in (
        ("bitmap directory", header.bitmap_directory),
        ("encryption header", header.encryption_header),
    ):
        areas.append((name, np.array([offset], dtype=np.int64), length))
    return _named(space, [area for area in areas if len(area[1]) and area[2]])


def _refcounts(fd: File, header: Qcow2Header) -> Iterator[Area]:
    length = header.refcount_table_clusters * header.cluster_size
    yield "refcount table", np.array([header.refcount_table_offset]), length
    data = read_at(fd, length, header.refcount_table_offset)
    if len(data) < length:
        _refuse("refcount_table_offset", "the refcount table is not inside the file")
    blocks = (np.frombuffer(data, dtype=">u8") & np.uint64(fmt.OFFSET_MASK)).astype(np.int64)
    blocks = blocks[blocks != 0]
    if np.any(blocks & (header.cluster_size - 1)):
        _refuse("refcount_table", "a refcount block is not aligned to a cluster")
    yield "refcount block", np.unique(blocks), header.cluster_size


def _named(space: str, areas: list[Area]) -> NamedRanges:
    start = np.concatenate([offsets for _, offsets, _ in areas])
    length = np.concatenate([np.full(len(offsets), size) for _, offsets, size in areas])
    name = np.concatenate([np.full(len(offsets), NAMES.index(what)) for what, offsets, _ in areas])
    return NamedRanges.of(space, NAMES, start, length, name)


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"qcow2 {field}: {why}", "look at the image with: qemu-img check")
