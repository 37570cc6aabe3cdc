"""From a joined window to rows of the per-IO table (schema.IOS)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.layer import Phase, Stage
from vio.reporter.account import TIMES
from vio.reporter.columns import certain, column_at, earliest, nullable, values_at
from vio.reporter.join import Joined
from vio.reporter.lacks import find_lacks
from vio.reporter.match import NONE, Bools, Ints, picked
from vio.reporter.ofwhich import OfWhich, Purposes
from vio.reporter.waits import Waits, no_columns
from vio.schema import IOS, arrow_schema, time_column

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
    purposes: Purposes = field(default_factory=Purposes)
    _next: int = 0
    _disk_of_root: dict[int, int] = field(default_factory=dict)

    def rows(self, joined: Joined, waits: Waits | None = None) -> pa.Table:
        """Return the IOs that are done in this window, in the order of their begin; `waits` are theirs, if known."""
        ios = joined.ios
        done = np.flatnonzero(joined.is_done)
        # A merged IO's carrier may be done in another window only if it never came back: then it has no number.
        row = np.full(ios.begin.size, NONE)
        row[done] = np.arange(done.size)
        number = np.where(row >= 0, row + self._next, NONE)
        self._next += done.size
        ev = joined.window.events
        disk = self.disks(joined)
        lack = find_lacks(joined, self._direct_ios(disk))
        head = ios.head
        given: dict[str, npt.NDArray[Any]] = {
            "io": number,
            "disk": disk,
            "op": ios.op,
            "offset": ios.offset,
            "bytes": ios.bytes,
            "tid": ev.tid[ios.begin],
            "begin_ns": ev.ts_ns[ios.begin],
            "merged_into": np.where(head == np.arange(head.size), NONE, number[head]),
            "is_whole": lack == 0,
            "is_ambiguous": _ambiguous(joined),
            "lack": lack,
        }
        columns = {name: certain(values, done, IOS_SCHEMA.field(name).type) for name, values in given.items()}
        for name, values in (("reached", joined.times.reached), ("children", joined.times.children)):
            columns[name] = pa.array(values.astype(IOS_SCHEMA.field(name).type.to_pandas_dtype()))
        end_ns, bits = values_at(ev.ts_ns, ios.end, done)
        columns["latency_ns"] = nullable(end_ns - columns["begin_ns"].to_numpy(), bits)
        bio_owner = picked(joined.submit_io, joined.links.bio_submit)
        columns |= _places(joined, done, bio_owner) | _stamps(joined, done, bio_owner)
        columns |= _own_times(joined, lack, row)
        columns |= waits.columns() if waits else no_columns(done.size)
        columns |= _of_which(self.purposes.times(joined, disk), ios.end >= 0, done)
        return pa.Table.from_arrays([columns[name] for name in IOS_SCHEMA.names], schema=IOS_SCHEMA)

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
            says = known[which] >= 0  # a backing file may be of several disks
            disk[joined.submit_io[owned[says]]] = known[which[says]]
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


def _ambiguous(joined: Joined) -> Bools:
    ambiguous = np.zeros(joined.ios.begin.size, dtype=np.bool_)
    owned = np.flatnonzero((joined.submit_io >= 0) & joined.carriers.is_ambiguous)
    ambiguous[joined.submit_io[owned]] = True
    bios = np.flatnonzero((joined.links.bio_submit >= 0) & joined.blocks.is_ambiguous)
    io = joined.submit_io[joined.links.bio_submit[bios]]
    ambiguous[io[io >= 0]] = True
    return ambiguous[joined.ios.head]


def _first(joined: Joined, owner: Ints, at: Ints) -> Ints:
    """Return the earliest event of each IO among `at`, -1 where there is none; followers have their carrier's."""
    return earliest(owner, at, joined.ios.begin.size)[joined.ios.head]


def _places(joined: Joined, done: Ints, bio_owner: Ints) -> dict[str, pa.Array]:
    blocks = joined.blocks
    bio = _first(joined, np.where(blocks.is_lowest, bio_owner, NONE), np.arange(blocks.bio.size))
    return {
        "file_offset": column_at(
            joined.window.events.offset, _first(joined, joined.submit_io, joined.frames.submit), done
        ),
        "device": column_at(blocks.bio_device, bio, done),
        "device_offset": column_at(blocks.bio_offset, bio, done),
    }


def _stamps(joined: Joined, done: Ints, bio_owner: Ints) -> dict[str, pa.Array]:
    frames, blocks = joined.frames, joined.blocks
    is_guest = bool((joined.ios.push >= 0).any())
    inner_owner = np.where(frames.call_parent >= 0, joined.call_io, NONE)
    events = {
        "accept": joined.ios.begin if is_guest else np.full(joined.ios.begin.size, NONE),
        "node_begin": _first(joined, inner_owner, frames.call),
        "rq_insert": _first(joined, bio_owner, picked(blocks.insert, blocks.request)),
        "push": joined.ios.push,
        "notify": joined.ios.notify,
    }
    columns = {f"t_{name}_ns": column_at(joined.window.events.ts_ns, at, done) for name, at in events.items()}
    times = joined.times
    for name, (stage, side) in _SPAN_STAMPS.items():
        at = _STAGE[stage]
        columns[f"t_{name}_ns"] = nullable(times.stamps_ns[side, at], times.bits[side, at])
    return columns


def _own_times(joined: Joined, lack: Ints, row: Ints) -> dict[str, pa.Array]:
    """Return the times; where a stage's end was not seen, or nobody saw what the kernel did, there is 0.

    `row` is the place of each IO in the table, or -1. What is 0 for that is not attributed.
    """
    times, spans = joined.times, joined.spans
    own_ns = times.own_ns
    lost_ns = np.zeros(own_ns.shape[2], dtype=np.int64)
    endless = np.flatnonzero(spans.end < 0)
    unseen = np.flatnonzero(lack & _NO_KERNEL)
    stage = np.append(spans.stage[endless], np.full(unseen.size, _STAGE[Stage.QEMU_AIO]))
    at = row[np.append(spans.owner[endless], unseen)]
    if at.size:
        stage, at = np.unique(np.stack([stage[at >= 0], at[at >= 0]]), axis=1)
        np.add.at(lost_ns, at, own_ns[stage, :, at].sum(axis=1))
        own_ns[stage, :, at] = 0
    columns = {
        time_column(stage, phase): nullable(own_ns[number, place], times.bits[TIMES, number])
        for number, stage in enumerate(Stage)
        for place, phase in enumerate(Phase)
    }
    is_ended = np.packbits(joined.ios.end[row >= 0] >= 0, bitorder="little")
    columns["unattributed_ns"] = nullable(lost_ns, is_ended)
    return columns


def _of_which(times: OfWhich, is_ended: Bools, done: Ints) -> dict[str, pa.Array]:
    """Return what of the times was for tables and copies; null where that is not known."""
    bits = np.packbits((times.is_known & is_ended)[done], bitorder="little")
    return {
        "metadata_ns": nullable(times.metadata_ns[done], bits),
        "metadata_reads": nullable(times.metadata_reads[done], bits).cast(pa.int32()),
        "cow_ns": nullable(times.cow_ns[done], bits),
    }
