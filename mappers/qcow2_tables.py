"""Where a qcow2 image keeps its own tables in its file: header, L1 and L2 tables, refcount table and blocks.

An L1 entry is written to the file as soon as its L2 table has a place, and a refcount table's entry likewise, so an
image in use shows its tables' places, even though what they say may be newer in QEMU's caches.
"""

import os

import numpy as np

from vio.mappers import qcow2_format as fmt
from vio.mappers.bounds import LAST
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Ints
from vio.mappers.qcow2_header import Qcow2Header, read_header

_REFCOUNT_MASK = ~np.uint64(0x1FF)


def map_tables(fd: int, source_space: str, target_space: str, header: Qcow2Header | None = None) -> RangeMap:
    """Map the tables of the qcow2 image open as `fd`: from `source_space`, addressed as the file is, to the file.

    An entry that points to no cluster of the file is left out. Internal snapshots' and bitmaps' tables are not read.

    Raises:
        MapError: a field of the header cannot be believed.
    """
    header = header or read_header(fd)
    size = header.cluster_size
    l1_bytes, refcount_bytes = header.l1_size * 8, header.refcount_table_clusters * size
    clusters = np.unique(
        np.concatenate(
            [
                np.zeros(1, dtype=np.int64),
                _clusters(header.l1_table_offset, l1_bytes, size),
                _entries(fd, header.l1_table_offset, l1_bytes, np.uint64(fmt.OFFSET_MASK), size),
                _clusters(header.refcount_table_offset, refcount_bytes, size),
                _entries(fd, header.refcount_table_offset, refcount_bytes, _REFCOUNT_MASK, size),
            ]
        )
    )
    return RangeMap.of(source_space, target_space, clusters * size, size, clusters * size).coalesce()


def _clusters(offset: int, length: int, cluster_size: int) -> Ints:
    return np.arange(offset // cluster_size, -(-(offset + length) // cluster_size), dtype=np.int64)


def _entries(fd: int, offset: int, length: int, mask: np.uint64, cluster_size: int) -> Ints:
    """Read a table of cluster offsets; a table that the file cuts off has the entries that are there."""
    data = os.pread(fd, length, offset)
    entries = np.frombuffer(data[: len(data) // 8 * 8], dtype=">u8") & mask
    found = entries[(entries != 0) & (entries < np.uint64(LAST - cluster_size))].astype(np.int64)
    return np.unique(found[found % cluster_size == 0] // cluster_size)
