"""Read a space through its map: a guest disk from its images, a volume from the disk. For metadata, in small pieces."""

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vio.errors import MapError
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.imagemap import Visible, disk_size, map_image
from vio.mappers.images import OpenImage
from vio.mappers.kind import BASE_MASK, Kind, base_of
from vio.mappers.openfile import read_at

BLOCK = 64 << 10
BLOCKS = 512
"""Blocks kept: 32 MiB, more than the metadata that a walk comes back to."""
REGION = 512 << 20
"""The map of a disk is made region by region, as it is read: what one L2 table maps, with the usual clusters."""
Read = Callable[[int, int], bytes]
"""Reads the bytes from one offset to another, which are inside the space."""


class Content:
    """A space as a file that can be read and sought in."""

    def __init__(self, size: int, read: Read) -> None:
        self._size, self._read = size, read
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, size: int = -1) -> bytes:
        """Read from the current place on."""
        data = self.read_at(self._place, self._size if size < 0 else size)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the current place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """Return the current place."""
        return self._place

    def get_size(self) -> int:
        """Return the size in bytes."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Read bytes at an offset; fewer where the space ends."""
        end = min(offset + size, self._size)
        if end <= offset:
            return b""
        first = offset // BLOCK
        if end <= (first + 1) * BLOCK:
            block = self._block(first)
            return block[offset - first * BLOCK : end - first * BLOCK]
        return self._read(offset, end)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._read(number * BLOCK, min((number + 1) * BLOCK, self._size))
            self._blocks[number] = block
            if len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return block


def disk_content(chain: Sequence[OpenImage], guest: str) -> Content:
    """Make the content of a guest disk readable; the images have to stay open. No address reads as zeroes.

    Raises:
        MapError: It is encrypted, a part of the chain is not open, or (later, in reading) an image is not sound.
    """
    if any(image.header and image.header.crypt_method for image in chain):
        raise MapError("the image is encrypted: its content cannot be read")
    last = chain[-1].header
    if last is not None and last.backing_file is not None:
        raise MapError("its backing file is not open: what it holds cannot be read")
    if any(image.data_fd is None for image in chain):
        raise MapError("where its data lies is not known")
    return Content(disk_size(chain[0]), _Disk(tuple(chain), guest).read)


def volume_content(disk: Content, ranges: RangeMap, size: int) -> Content:
    """Make a volume (a partition, a logical volume) readable by its map to the disk."""
    rows = ranges.rows.take(ranges.target >= 0)

    def read(offset: int, end: int) -> bytes:
        data = bytearray(end - offset)
        for row, begin, stop in _rows_within(rows, offset, end):
            piece = disk.read_at(int(rows.target[row]) + begin - int(rows.start[row]), stop - begin)
            data[begin - offset : begin - offset + len(piece)] = piece
        return bytes(data)

    return Content(size, read)


@dataclass(slots=True)
class _Disk:
    """A guest disk; `regions` keeps the rows of each image, for the parts of the disk that were read."""

    chain: tuple[OpenImage, ...]
    guest: str
    regions: dict[int, list[tuple[OpenImage, Rows]]] = field(default_factory=dict)

    def read(self, offset: int, end: int) -> bytes:
        data = bytearray(end - offset)
        for region in range(offset // REGION, (end - 1) // REGION + 1):
            for image, rows in self._rows(region):
                for row, begin, stop in _rows_within(rows, offset, end):
                    piece = _read_row(image, rows, row, begin - int(rows.start[row]), stop - begin)
                    data[begin - offset : begin - offset + len(piece)] = piece
        return bytes(data)

    def _rows(self, region: int) -> list[tuple[OpenImage, Rows]]:
        if region not in self.regions:
            visible, found = Visible(), list[tuple[OpenImage, Rows]]()
            for image in self.chain:
                shown = visible.of(map_image(image, self.guest, (region * REGION, (region + 1) * REGION)))
                visible = Visible.below(shown)
                base = base_of(shown.kind)
                is_data = (shown.target >= 0) & ((base == Kind.MAPPED) | (base == Kind.COMPRESSED))
                found.append((image, shown.rows.take(is_data)))
            self.regions[region] = found
        return self.regions[region]


def _rows_within(rows: Rows, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the rows that meet a range: index, and begin and end of what they share."""
    row = max(0, int(np.searchsorted(rows.start, offset, side="right")) - 1)
    while row < len(rows.start) and rows.start[row] < end:
        begin, stop = max(offset, int(rows.start[row])), min(end, int(rows.start[row] + rows.length[row]))
        if begin < stop:
            yield row, begin, stop
        row += 1


def _read_row(image: OpenImage, rows: Rows, row: int, inside: int, count: int) -> bytes:
    fd = image.fd if image.data_fd is None else image.data_fd
    if int(rows.kind[row]) & BASE_MASK == Kind.MAPPED:
        return read_at(fd, count, int(rows.target[row]) + inside)
    header = image.header
    if header is None:
        raise MapError("compressed data in an image that is not qcow2")
    packed = read_at(fd, int(rows.target_length[row]), int(rows.target[row]))
    # The row may be the later part of a cluster whose beginning another image hides.
    ahead = int(rows.start[row]) % header.cluster_size + inside
    return _unpacked(packed, header.cluster_size, header.compression_type)[ahead : ahead + count]


def _unpacked(packed: bytes, size: int, compression_type: int) -> bytes:
    try:
        if compression_type == 0:
            return zlib.decompressobj(wbits=-12).decompress(packed, size)
        return bytes(pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read(size))
    except (zlib.error, OSError) as error:
        raise MapError(f"a compressed cluster cannot be unpacked: {error}") from error
