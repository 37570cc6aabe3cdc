"""What of an IO's time was for an image's own tables (metadata) and for copy-on-write: beside the layers' view.

Every call that a format driver makes on a file below it is for the guest's data, for the image's tables (an L2 table
that was not in the cache, refcounts), or for old content: what is read before a cluster is written the first time, and
what is written of it beside the guest's own. An instant belongs to the data if any call for it is under way, else to
the copies, else to the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.layer import Op
from vio.manifest import Manifest
from vio.mappers.space import tables_space
from vio.mappers.timed import MapSet
from vio.reporter.compiled import compiled
from vio.reporter.imagefiles import ImageFiles
from vio.reporter.join import Joined
from vio.reporter.match import Bools, Ints, picked

_DATA, _COPY, _TABLES = range(3)
_OPS = list(Op)
_CHANGES = [number for number, op in enumerate(Op) if op not in (Op.READ, Op.FLUSH)]
_ZERO_WRITE = 2  # BDRV_REQ_ZERO_WRITE
_QCOW2 = "qcow2"


@dataclass(frozen=True, slots=True)
class OfWhich:
    """For each IO: time (ns) and calls for the image's tables, and time for copies; `is_known`: the tables' places."""

    metadata_ns: Ints
    metadata_reads: Ints
    cow_ns: Ints
    is_known: Bools


@dataclass(frozen=True, slots=True)
class Purposes:
    """Tells what each hand-over is for: where the images' tables lie in their files, by descriptor."""

    tables: Mapping[int, tuple[Ints, Ints]] = field(default_factory=dict)
    backing: frozenset[int] = frozenset()
    is_known: tuple[bool, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, maps: MapSet, files: ImageFiles) -> "Purposes":
        """Take the places from the maps of the start and of the stop."""
        found: dict[str, tuple[Ints, Ints]] = {}
        for space in set(files.spaces.values()):
            mine = [one.map for one in maps.maps if one.map.source_space == tables_space(space)]
            if mine:
                found[space] = _united(
                    np.concatenate([one.start for one in mine]), np.concatenate([one.end for one in mine])
                )
        tables = {fd: found[space] for fd, space in files.spaces.items() if space in found}
        known = tuple(disk.format != _QCOW2 or disk.space in found for disk in manifest.target.disks)
        return cls(tables, files.backing, known)

    def times(self, joined: Joined, disk: Ints) -> OfWhich:
        """Divide the lives of a window's IOs; those that were merged have what their carrier has."""
        ios = joined.ios
        count = ios.begin.size
        known = (
            np.append(np.array(self.is_known, dtype=np.bool_), False)[disk]
            if self.is_known
            else np.zeros(count, dtype=np.bool_)
        )
        reads, metadata_ns, cow_ns = (np.zeros(count, dtype=np.int64) for _ in range(3))
        purpose, is_read = self._purposes(joined)
        special = np.flatnonzero((purpose != _DATA) & (joined.submit_io >= 0))
        if special.size:
            np.add.at(reads, joined.submit_io[special], ((purpose == _TABLES) & is_read)[special])
            is_special = np.zeros(count + 1, dtype=np.bool_)
            is_special[joined.submit_io[special]] = True
            mine = np.flatnonzero(is_special[joined.submit_io] & (joined.submit_io >= 0))
            _divide(*_calls(joined, mine), purpose[mine], metadata_ns, cow_ns)
        head = ios.head
        return OfWhich(metadata_ns[head], reads[head], cow_ns[head], known)

    def _purposes(self, joined: Joined) -> tuple[Ints, Bools]:
        """Return what each hand-over is for, and whether its call reads."""
        ev, frames, ios = joined.window.events, joined.frames, joined.ios
        purpose = np.full(frames.submit.size, _DATA)
        if not ios.op.size or not (self.tables or self.backing):
            return purpose, np.zeros(purpose.size, dtype=np.bool_)
        descriptor, offset = ev.space[frames.submit], ev.offset[frames.submit]
        call = picked(frames.call, frames.submit_parent)
        is_read, is_write = joined.window.is_at(call, "bdrv_read"), joined.window.is_at(call, "bdrv_write")
        is_image = np.isin(descriptor, np.array(sorted(self.tables), dtype=np.int64))
        is_backing = np.isin(descriptor, np.array(sorted(self.backing), dtype=np.int64))
        io = joined.submit_io
        is_change = np.isin(ios.op, _CHANGES)[io] & (io >= 0)
        root = picked(frames.call, picked(ios.root, io))
        is_own = (call >= 0) & (root >= 0) & (ev.key[call] == ev.key[root])
        is_zeroing = is_write & ((ev.flags[call] & _ZERO_WRITE) != 0)
        has_own = np.zeros(ios.op.size + 1, dtype=np.bool_)
        has_own[io[is_own & is_write & (io >= 0)]] = True
        old = is_read & (is_image | is_backing) & is_change
        beside = is_write & is_image & ~is_own & ((is_change & has_own[io]) | (ios.op[io] == _OPS.index(Op.READ)))
        purpose[old | beside | (is_zeroing & is_image & is_change & has_own[io])] = _COPY
        for fd, (start, end) in self.tables.items():
            of_file = np.flatnonzero(descriptor == fd)
            at = np.searchsorted(start, offset[of_file], side="right") - 1
            purpose[of_file[(at >= 0) & (offset[of_file] < end[np.maximum(at, 0)])]] = _TABLES
        return purpose, is_read


def _united(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Join ranges that touch or overlap."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.flatnonzero(np.append(True, start[1:] > reach[:-1]))
    return start[first], reach[np.append(first[1:] - 1, start.size - 1)]


def _calls(joined: Joined, submits: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the IO, and the begin and end (ns) of the innermost call around each hand-over, within the IO's life."""
    ts_ns, ios, frames = joined.window.events.ts_ns, joined.ios, joined.frames
    io, parent = joined.submit_io[submits], frames.submit_parent[submits]
    begin_ns = ts_ns[ios.begin[io]]
    last_ns = np.where(ios.end[io] >= 0, ts_ns[ios.end[io]], begin_ns)  # what has not ended has no times
    end = picked(frames.call_end, parent)
    start_ns = np.clip(ts_ns[frames.call[parent]], begin_ns, last_ns)
    stop_ns = np.clip(np.where(end >= 0, ts_ns[end], last_ns), start_ns, last_ns)
    return io, start_ns, stop_ns


def _divide(io: Ints, start: Ints, stop: Ints, purpose: npt.NDArray[np.int64], metadata_ns: Ints, cow_ns: Ints) -> None:
    order = np.lexsort((start, io))
    _divide_sorted(io[order], start[order], stop[order], purpose[order].astype(np.int64), metadata_ns, cow_ns)


@compiled
def _divide_sorted(io: Ints, start: Ints, stop: Ints, purpose: Ints, metadata_ns: Ints, cow_ns: Ints) -> None:
    """Add up, for calls in order of IO and begin: the time of copies less that of data, of tables less that of both."""
    first = 0
    while first < io.size:
        last = first
        whole = np.zeros(3, np.int64)
        reach = np.full(3, start[first])
        while last < io.size and io[last] == io[first]:
            for level in range(purpose[last], 3):
                whole[level] += max(stop[last] - max(start[last], reach[level]), 0)
                reach[level] = max(reach[level], stop[last])
            last += 1
        cow_ns[io[first]] = whole[1] - whole[0]
        metadata_ns[io[first]] = whole[2] - whole[1]
        first = last
