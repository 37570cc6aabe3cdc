"""qcow2: guest disk to image file, by walking the L1 and L2 tables of the file.

Reads only, takes no lock, and never opens another file, so it works on an image in use. What QEMU has not yet
flushed is not in the file: such a map lags behind the guest's newest writes.
"""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from vio.errors import MapError
from vio.mappers.extent import NOWHERE, RangeMap, Rows
from vio.mappers.growing import GrowingRows
from vio.mappers.kind import Ints, Kind
from vio.mappers.openfile import File, read_at, read_into
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.entry import decode_extended, decode_standard
from vio.mappers.qcow2.header import Qcow2Header, read_header

BATCH_ENTRIES = 1 << 15
"""L2 entries decoded at once: few enough for the work to stay in the processor's cache."""
MAX_CLUSTERS = 1 << 30
"""Clusters that a map may walk: 64 TiB at 64 KiB, and a bound on what a hostile image can cost."""


def map_qcow2(
    fd: File,
    source_space: str,
    target_space: str,
    header: Qcow2Header | None = None,
    within: tuple[int, int] | None = None,
) -> RangeMap:
    """Map the guest disk of the qcow2 image open as `fd` to bytes of the file that holds its data.

    `target_space` is the image file, or the external data file where `header.has_data_file`. The whole
    virtual size is covered, or what of it is `within` two guest offsets: then only the tables for that are
    read. An UNALLOCATED range reads the backing file as far as that goes, else zeroes.

    Raises:
        MapError: A field of the header or an entry of a table cannot be believed.
    """
    header = header or read_header(fd)
    begin, end = (0, header.size) if within is None else (within[0], min(header.size, within[1]))
    growing = GrowingRows()
    reached = 0
    for rows in walk(fd, header, within):
        growing.add(_with_holes(rows, reached))
        reached = int(rows.start[-1] + rows.length[-1]) if len(rows.start) else reached
    if not growing.count:
        return RangeMap.of(source_space, target_space, [], [], []).fill(end, Kind.UNALLOCATED).slice(begin, end)
    if reached < end:
        growing.add(_holes(np.array([reached]), np.array([end - reached])))
    found = RangeMap(source_space, target_space, *growing.finish())
    if reached > end:  # the last cluster goes on behind the end of the disk
        found = found.slice(0, end)
    found = found.coalesce() if growing.joins else found
    return found if within is None else found.slice(begin, end)


def _with_holes(rows: Rows, reached: int) -> Rows:
    """Put a row for each gap between rows, the first from `reached` on: in a batch, while it is in the cache."""
    begin = np.concatenate([[reached], (rows.start + rows.length)[:-1]]) if len(rows.start) else rows.start
    gap = rows.start - begin
    has_gap = gap > 0
    count = int(np.count_nonzero(has_gap))
    if count == 0:
        return rows
    place = np.arange(len(gap)) + np.cumsum(has_gap)
    before = place[has_gap] - 1
    both = Rows.joined([rows, _holes(begin[has_gap], gap[has_gap])])
    order = np.empty(len(gap) + count, dtype=np.int64)
    order[place], order[before] = np.arange(len(gap)), len(gap) + np.arange(count)
    return both.take(order)


def _holes(start: Ints, length: Ints) -> Rows:
    nowhere, kind = np.full(len(start), NOWHERE), np.full(len(start), Kind.UNALLOCATED, dtype=np.uint8)
    return Rows(start, length, nowhere, np.zeros(len(start), dtype=np.int64), kind)


def walk(fd: File, header: Qcow2Header, within: tuple[int, int] | None = None) -> Iterator[Rows]:
    """Yield what the L2 tables say, some tables at a time, in guest order; of ranges that nothing says, nothing.

    Memory: one batch, however large the image. The last rows may reach beyond the end of the disk.

    Raises:
        MapError: As `map_qcow2`.
    """
    l1_table = read_l1(fd, header)
    l1_index = np.flatnonzero(l1_table)
    if within is not None:
        reach = header.l2_entries * header.cluster_size
        l1_index = l1_index[(l1_index >= within[0] // reach) & (l1_index * reach < within[1])]
    if len(l1_index) * header.l2_entries > MAX_CLUSTERS:
        _refuse("l1_table", f"its tables would map more than {MAX_CLUSTERS} clusters")
    per_batch = max(1, BATCH_ENTRIES // header.l2_entries)
    if header.has_extended_l2:
        per_batch = max(1, per_batch // fmt.SUBCLUSTERS)
    for first in range(0, len(l1_index), per_batch):
        yield _map_tables(fd, header, l1_table, l1_index[first : first + per_batch])


def read_l1(fd: File, header: Qcow2Header) -> Ints:
    """Read the L1 table as offsets of L2 tables in the file, 0 for none, as far as the guest disk goes."""
    data = read_at(fd, header.l1_entries * 8, header.l1_table_offset)
    if len(data) < header.l1_entries * 8:
        _refuse("l1_table_offset", "the L1 table is not inside the file")
    table = (np.frombuffer(data, dtype=">u8") & np.uint64(fmt.OFFSET_MASK)).astype(np.int64)
    used = table[table != 0]
    if np.any(used & (header.cluster_size - 1)):
        _refuse("l1_table", "an L2 table is not aligned to a cluster")
    # Each L2 table belongs to one L1 entry. Without this check a small file could claim terabytes of tables.
    if len(np.unique(used)) != len(used):
        _refuse("l1_table", "two entries share an L2 table")
    return table


def _map_tables(fd: File, header: Qcow2Header, l1_table: Ints, l1_index: Ints) -> Rows:
    words = 2 if header.has_extended_l2 else 1
    raw = np.empty((len(l1_index), header.l2_entries, words), dtype=">u8")
    for table, offset in zip(raw, l1_table[l1_index].tolist(), strict=True):
        if read_into(fd, table.data, offset) < header.cluster_size:
            _refuse("l1_table", f"the L2 table at {offset:#x} is not inside the file")
    entries = raw.reshape(-1, words).astype(np.uint64)
    cluster = (l1_index[:, None] * header.l2_entries + np.arange(header.l2_entries)).ravel()
    used = np.flatnonzero(entries.any(axis=1) if words > 1 else entries)
    if len(used) < len(entries):
        entries, cluster = entries[used], cluster[used]
    if header.has_extended_l2:
        rows = decode_extended(header, cluster, entries[:, 0], entries[:, 1])
    else:
        rows = decode_standard(header, cluster, entries[:, 0])
    # Join what can be joined now, while the batch is small: 8 bytes a cluster become 33 a row.
    return RangeMap.from_rows("", "", rows).coalesce().rows


def _refuse(field: str, why: str) -> NoReturn:
    raise MapError(f"qcow2 {field}: {why}", "look at the image with: qemu-img check")
