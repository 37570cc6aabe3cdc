"""From a joined window to rows of the per-IO table (schema.IOS)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vio.layer import Phase, Stage
from vio.reporter.join import Joined
from vio.reporter.lacks import find_lacks
from vio.reporter.match import NONE, Bools, Ints
from vio.schema import IOS, STAMPS, arrow_schema, time_column

IOS_SCHEMA = arrow_schema(IOS)
_NO_KERNEL = 4  # schema.LACKS: what the kernel did with an asynchronous request
_STAGE = {stage: number for number, stage in enumerate(Stage)}
# Stamp -> stage and side of its spans.
_SPAN_STAMPS = {
    "block_begin": (Stage.QEMU_BLOCK, 0),
    "aio_submit": (Stage.QEMU_AIO, 0),
    "vfs_begin": (Stage.VFS, 0),
    "fs_begin": (Stage.FS, 0),
    "bio_queue": (Stage.BLOCK, 0),
    "rq_issue": (Stage.DEVICE, 0),
    "loop_fs_begin": (Stage.LOOP_FS, 0),
    "loop_bio_queue": (Stage.LOOP_BLOCK, 0),
    "loop_rq_issue": (Stage.LOOP_DEVICE, 0),
    "loop_rq_complete": (Stage.LOOP_DEVICE, 1),
    "loop_fs_end": (Stage.LOOP_FS, 1),
    "rq_complete": (Stage.DEVICE, 1),
    "fs_end": (Stage.FS, 1),
    "vfs_end": (Stage.VFS, 1),
    "aio_end": (Stage.QEMU_AIO, 1),
    "block_end": (Stage.QEMU_BLOCK, 1),
}


@dataclass(slots=True)
class IoTable:
    """Makes tables of IOs; remembers the numbers given so far and which block-layer root belongs to which disk."""

    disk_of_descriptor: dict[int, int]
    disk_count: int
    is_direct: tuple[bool, ...]
    _next: int = 0
    _disk_of_root: dict[int, int] = field(default_factory=dict)

    def rows(self, joined: Joined) -> pa.Table:
        """Return the IOs that are done in this window, in the order of their begin."""
        ios = joined.ios
        done = np.flatnonzero(joined.is_done)
        # A merged IO's carrier may be done in another window only if it never came back: then it has no number.
        number = np.full(ios.begin.size, NONE)
        number[done] = self._next + np.arange(done.size)
        self._next += done.size
        ev = joined.window.events
        disk = self.disks(joined)
        lack = find_lacks(joined, self._direct_ios(disk))
        columns: dict[str, Any] = {
            "io": number,
            "disk": disk,
            "op": ios.op,
            "offset": ios.offset,
            "bytes": ios.bytes,
            "tid": ev.tid[ios.begin],
            "begin_ns": ev.ts_ns[ios.begin],
            "latency_ns": _nullable(_time(joined, ios.end) - ev.ts_ns[ios.begin], ios.end >= 0),
            "merged_into": np.where(ios.head == np.arange(ios.head.size), NONE, number[ios.head]),
            "is_whole": lack == 0,
            "is_ambiguous": _ambiguous(joined),
            "reached": _reached(joined),
            "lack": lack,
            "children": joined.times.spans.sum(axis=0) - 1,
        }
        columns.update(_places(joined))
        columns.update(_stamps(joined))
        columns.update(_own_times(joined, lack))
        arrays = [pa.array(columns[name]).cast(IOS_SCHEMA.field(name).type) for name in IOS_SCHEMA.names]
        table = pa.Table.from_arrays(arrays, schema=IOS_SCHEMA)
        return table if done.size == number.size else table.take(pa.array(done))

    def disks(self, joined: Joined) -> Ints:
        """Return the disk of each IO: by the descriptor at the bottom of QEMU, or by others of the same root node."""
        ev = joined.window.events
        ios = joined.ios
        if self.disk_count == 1:
            return np.zeros(ios.begin.size, dtype=np.int64)
        disk = np.full(ios.begin.size, NONE)
        owned = np.flatnonzero(joined.submit_io >= 0)[::-1]
        descriptors, which = np.unique(ev.space[joined.frames.submit[owned]], return_inverse=True)
        known = np.array([self.disk_of_descriptor.get(int(fd), NONE) for fd in descriptors], dtype=np.int64)
        if owned.size:
            disk[joined.submit_io[owned]] = known[which]
        found = np.flatnonzero((disk >= 0) & (ios.space >= 0))
        for root, first in zip(*np.unique(ios.space[found], return_index=True), strict=True):
            self._disk_of_root.setdefault(int(root), int(disk[found[first]]))
        rest = np.flatnonzero((disk < 0) & (ios.space >= 0))
        roots, which = np.unique(ios.space[rest], return_inverse=True)
        if rest.size:
            disk[rest] = np.array([self._disk_of_root.get(int(root), NONE) for root in roots])[which]
        return disk[ios.head]

    def _direct_ios(self, disk: Ints) -> Bools:
        direct = np.array([*self.is_direct, False], dtype=np.bool_)
        return direct[disk]


def _time(joined: Joined, at: Ints) -> Ints:
    return joined.window.events.ts_ns[at]


def _nullable(values: Ints, is_valid: Bools) -> pa.Array:
    return pa.array(values, mask=~is_valid)


def _ambiguous(joined: Joined) -> Bools:
    ambiguous = np.zeros(joined.ios.begin.size, dtype=np.bool_)
    owned = np.flatnonzero((joined.submit_io >= 0) & joined.carriers.is_ambiguous)
    ambiguous[joined.submit_io[owned]] = True
    bios = np.flatnonzero((joined.links.bio_submit >= 0) & joined.blocks.is_ambiguous)
    io = joined.submit_io[joined.links.bio_submit[bios]]
    ambiguous[io[io >= 0]] = True
    return ambiguous[joined.ios.head]


def _reached(joined: Joined) -> Ints:
    has = joined.times.spans > 0
    return np.asarray(has.shape[0] - 1 - np.argmax(has[::-1], axis=0), dtype=np.int64)


def _first(joined: Joined, owner: Ints, at: Ints) -> Ints:
    """Return the earliest event of each IO among `at`, -1 where there is none; followers have their carrier's."""
    far = np.iinfo(np.int64).max
    first = np.full(joined.ios.begin.size, far)
    has = (owner >= 0) & (at >= 0)
    np.minimum.at(first, owner[has], at[has])
    first = first[joined.ios.head]
    return np.where(first == far, NONE, first)


def _places(joined: Joined) -> dict[str, pa.Array]:
    ev = joined.window.events
    submit = _first(joined, joined.submit_io, joined.frames.submit)
    bio_io = _bio_owner(joined)
    bio = _first(joined, bio_io, joined.blocks.bio)
    position = np.searchsorted(joined.blocks.bio, bio)
    position = np.where(bio >= 0, position, 0)
    has = bio >= 0
    device = joined.blocks.bio_device[position] if joined.blocks.bio.size else bio
    offset = joined.blocks.bio_offset[position] if joined.blocks.bio.size else bio
    return {
        "file_offset": _nullable(ev.offset[submit], submit >= 0),
        "device": _nullable(device, has),
        "device_offset": _nullable(offset, has),
    }


def _bio_owner(joined: Joined) -> Ints:
    submit = joined.links.bio_submit
    return np.where(submit >= 0, joined.submit_io[submit], NONE) if joined.submit_io.size else submit


def _stamps(joined: Joined) -> dict[str, pa.Array]:
    count = joined.ios.begin.size
    ev = joined.window.events
    is_guest = bool((joined.ios.push >= 0).any())
    inner = np.flatnonzero((joined.call_io >= 0) & (joined.frames.call_parent >= 0))
    request = joined.blocks.request
    insert = np.where(request >= 0, joined.blocks.insert[request], NONE) if joined.blocks.issue.size else request
    events = {
        "accept": joined.ios.begin if is_guest else np.full(count, NONE),
        "node_begin": _first(joined, joined.call_io[inner], joined.frames.call[inner]),
        "rq_insert": _first(joined, _bio_owner(joined), insert),
        "push": joined.ios.push,
        "notify": joined.ios.notify,
    }
    for name, (stage, side) in _SPAN_STAMPS.items():
        events[name] = (joined.times.first, joined.times.last)[side][_STAGE[stage]]
    return {f"t_{name}_ns": _nullable(ev.ts_ns[events[name]], events[name] >= 0) for name, _ in STAMPS}


def _own_times(joined: Joined, lack: Ints) -> dict[str, pa.Array]:
    """Return the times; a stage whose end was not seen, or what nobody saw the kernel do, has none."""
    own, ended = joined.times.own_ns, joined.ios.end >= 0
    is_unseen = np.zeros((len(Stage), ended.size), dtype=np.bool_)
    endless = np.flatnonzero(joined.spans.end < 0)
    is_unseen[joined.spans.stage[endless], joined.spans.owner[endless]] = True
    is_unseen[_STAGE[Stage.QEMU_AIO]] |= (lack & _NO_KERNEL) != 0
    lost = np.zeros(ended.size, dtype=np.int64)
    columns: dict[str, pa.Array] = {}
    for number, stage in enumerate(Stage):
        reached = ended & (joined.times.spans[number] > 0)
        unseen = is_unseen[number] if is_unseen[number].any() else None
        for place, phase in enumerate(Phase):
            time = own[number, place]
            if unseen is not None:
                lost += np.where(unseen, time, 0)
                time = np.where(unseen, 0, time)
            columns[time_column(stage, phase)] = _nullable(time, reached)
    columns["unattributed_ns"] = _nullable(lost, ended)
    return columns
