"""From a joined window: where in the image file the guest's requests went, as QEMU's block layer shows it twice.

The request is seen at the guest's address, and the call that the format driver makes for it at the file's. Both have
the guest's own buffer, a QEMUIOVector, where nothing is put between: that tells data from tables and from copies.
"""

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np

from vio.reporter.join import Joined
from vio.reporter.match import Bools, Ints
from vio.reporter.seencalls import calls_on_file, calls_that_unmap, tell_places, weigh_calls
from vio.reporter.sightings import GONE, Ranges

IN_PIECES, NO_END, OTHER_BUFFER = (
    "cut into pieces, of which it is not certain which is which",
    "writes of which no end was seen",
    "not in the guest's own buffer (compressed, encrypted, copied)",
)


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """A disk's number, the descriptors of the file with its data, and how qcow2 lays it out.

    `cluster_bytes` and `subcluster_bytes` (what is allocated at once) are 0 where they are not known; `size_bytes` is
    the guest disk's, or more than any has. `tables` are begins and ends of the image's own tables in that file.
    """

    disk: int
    descriptors: Ints
    cluster_bytes: int
    subcluster_bytes: int
    size_bytes: int
    tables: tuple[Ints, Ints]

    def outward(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Grow ranges to what is allocated at once, which is a power of two."""
        unit = self.subcluster_bytes
        if not unit:
            return start, end
        return start & -unit, np.maximum(end, np.minimum((end + unit - 1) & -unit, self.size_bytes))

    def inward(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Shrink ranges to whole clusters; one that ends with the disk is whole."""
        unit = self.cluster_bytes or 1
        return -(-start // unit) * unit, np.where(end == self.size_bytes, end, end // unit * unit)


@dataclass(frozen=True, slots=True)
class SeenPlaces:
    """Sightings without their times: ranges of the guest's disk, shifts, and the events between which each was seen."""

    start: Ints
    end: Ints
    shift: Ints
    first: Ints
    last: Ints

    def dated(self, ts_ns: Ints, which: Ints | slice = slice(None)) -> Ranges:
        """Return them, or some of them, with their times."""
        start, end, shift, first, last = (getattr(self, f.name)[which] for f in fields(self))
        return Ranges.of(start, end, shift, ts_ns[first], ts_ns[last])


def seen_places(joined: Joined, layout: ImageLayout, left_out: Counter[str]) -> tuple[SeenPlaces, Bools]:
    """Return where in a file the IOs that are done in this window went; and which IOs have calls on it.

    What is not told is counted by its reason. What was read or written tells of all that is allocated with it.
    """
    ev, frames, ios, number = joined.window.events, joined.frames, joined.ios, joined.window.number
    where = (frames.submit, frames.submit_parent, ev.space, layout.descriptors)
    calls = calls_on_file(*where, joined.call_io, ios.root, joined.is_done)
    io_of, columns = joined.call_io[calls], (ev.point, ev.flags, ev.bytes, ev.offset, ev.key)
    root, how = ios.root[io_of], (number("bdrv_read"), number("bdrv_write"), layout.cluster_bytes)
    at, top = frames.call[calls], frames.call[root]
    weights = weigh_calls(at, io_of, top, ios.root.size, *columns, *how, *layout.tables)
    is_write = joined.window.is_at(at, "bdrv_write")
    told = tell_places(weights, io_of, at, frames.call_end[calls], top, frames.call_end[root], is_write)
    left_out.update({IN_PIECES: told.in_pieces, NO_END: told.no_end, OTHER_BUFFER: told.other_buffer})
    start, end = layout.outward(told.guest, told.guest + told.bytes)
    return SeenPlaces(start, end, told.offset - told.guest, told.first, told.last), told.has_call


def lost_places(joined: Joined, disk: Ints, layout: ImageLayout, has_call: Bools) -> SeenPlaces:
    """Return what of a disk was discarded or zeroed, and may have no place now.

    `disk` is that of each IO, `has_call` tells those with calls on any file of its image.
    """
    ev, frames, number = joined.window.events, joined.frames, joined.window.number
    is_mine, columns = joined.is_done & (disk == layout.disk), (ev.point, ev.flags, ev.space)
    calls = (frames.call, frames.call_end, frames.call_parent, joined.call_io)
    points = (number("bdrv_write"), number("bdrv_discard"))
    which = calls_that_unmap(*calls, is_mine, joined.ios.space, has_call, *columns, *points)
    at, end = frames.call[which], frames.call_end[which]
    is_discard = joined.window.is_at(at, "bdrv_discard")
    begin, stop = ev.offset[at], ev.offset[at] + np.where(is_discard, ev.key[at].astype(np.int64), ev.bytes[at])
    inner, outer = layout.inward(begin, stop), layout.outward(begin, stop)
    begin, stop = (np.where(is_discard, one, other) for one, other in zip(inner, outer, strict=True))
    return SeenPlaces(begin, stop, np.full(which.size, GONE), at, np.where(end >= 0, end, len(ev) - 1))
