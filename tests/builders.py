"""Builders of test data: per-IO tables whose times add up, and what a report knows of a recording."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.layer import Layer, Op, Phase, Stage
from vio.losses import Loss
from vio.manifest import AbsentPoint, Clock, Creator, DiskInfo, HostInfo, Manifest, Moment, PointInfo, SchemaVersion
from vio.manifest import State, TargetInfo
from vio.reporter.recorded import Recorded
from vio.schema import IOS, LACKS, MAJOR, MINOR, OPS, STAMPS, arrow_schema, time_column

Ints = npt.NDArray[np.int64]

START_NS = 1_000_000_000_000
WALL_NS = 1_790_000_000_000_000_000
HOST_STAGES = tuple(Stage)[:7]
ALL_STAGES = tuple(Stage)

# Mean own time of each stage in ns, in the phases down, between, up.
_MEANS_NS = {
    Stage.QEMU_DEVICE: (6_000, 0, 9_000),
    Stage.QEMU_BLOCK: (8_000, 1_500, 4_000),
    Stage.QEMU_AIO: (3_000, 0, 12_000),
    Stage.VFS: (2_000, 0, 1_500),
    Stage.FS: (5_000, 700, 2_500),
    Stage.BLOCK: (14_000, 0, 1_000),
    Stage.DEVICE: (90_000, 0, 0),
    Stage.LOOP_FS: (4_000, 0, 2_000),
    Stage.LOOP_BLOCK: (6_000, 0, 1_000),
    Stage.LOOP_DEVICE: (70_000, 0, 0),
}
# The stages' time stamps: the first point on the way down, the last on the way up.
_BEGINS = {
    Stage.QEMU_DEVICE: ("accept",),
    Stage.QEMU_BLOCK: ("block_begin",),
    Stage.QEMU_AIO: ("node_begin", "aio_submit"),
    Stage.VFS: ("vfs_begin",),
    Stage.FS: ("fs_begin",),
    Stage.BLOCK: ("bio_queue", "rq_insert"),
    Stage.DEVICE: ("rq_issue",),
    Stage.LOOP_FS: ("loop_fs_begin",),
    Stage.LOOP_BLOCK: ("loop_bio_queue",),
    Stage.LOOP_DEVICE: ("loop_rq_issue",),
}
_ENDS = {
    Stage.QEMU_DEVICE: ("push", "notify"),
    Stage.QEMU_BLOCK: ("block_end",),
    Stage.QEMU_AIO: ("aio_end",),
    Stage.VFS: ("vfs_end",),
    Stage.FS: ("fs_end",),
    Stage.DEVICE: ("rq_complete",),
    Stage.LOOP_FS: ("loop_fs_end",),
    Stage.LOOP_DEVICE: ("loop_rq_complete",),
}
_OP_NUMBERS = {op: number for number, op in enumerate(OPS)}


def an_io_table(
    count: int,
    seed: int = 0,
    *,
    stages: Sequence[Stage] = HOST_STAGES,
    disks: int = 1,
    unended: int = 0,
    first_io: int = 0,
    begin_ns: int = START_NS,
    gap_ns: int = 20_000,
) -> pa.Table:
    """Make random IOs whose stage times add up to their latency; the last `unended` of them have no end."""
    rng = np.random.default_rng(seed)
    op = rng.choice(4, count, p=[0.55, 0.38, 0.06, 0.01])
    deepest = _depths(rng, count, op, len(stages))
    begin = begin_ns + np.cumsum(rng.integers(1, 2 * gap_ns, count))
    lack = np.where(rng.random(count) < 0.004, rng.choice(list(LACKS)[1:], count), 0)
    columns = _heads(rng, op, begin, disks, first_io, lack, np.array([_place(s) for s in stages])[deepest])
    times = _own_times(rng, count, stages, deepest)
    unattributed = np.where(lack > 0, rng.integers(1_000, 20_000, count), 0)
    columns |= _stamps(begin, times, stages, deepest, unattributed)
    columns |= _time_columns(times, stages, deepest)
    columns["unattributed_ns"] = _nullable(unattributed)
    columns["latency_ns"] = _nullable(unattributed + sum(part for triple in times.values() for part in triple))
    _drop_lower_addresses(columns, stages, deepest)
    table = pa.table({column.name: columns.get(column.name, _nothing(column.type, count)) for column in IOS})
    return without_end(table.cast(arrow_schema(IOS)), unended)


def without_end(ios: pa.Table, count: int) -> pa.Table:
    """Take the end away from the last IOs of a table."""
    if not count:
        return ios
    is_open = np.arange(ios.num_rows) >= ios.num_rows - count
    for name in ios.column_names:
        gone = name == "latency_ns" or name.endswith("_ns") and not name.startswith(("t_", "begin"))
        gone = gone or name in {"t_push_ns", "t_notify_ns", "t_block_end_ns"}
        if gone:
            _set(ios, name)
            values = ios[name].to_pylist()
            kept = [None if hidden else value for hidden, value in zip(is_open, values, strict=True)]
            ios = ios.set_column(ios.column_names.index(name), name, pa.array(kept, pa.int64()))
    lack = np.where(is_open, 1, ios["lack"].to_numpy()).astype(np.uint16)
    ios = ios.set_column(ios.column_names.index("lack"), "lack", pa.array(lack))
    return ios.set_column(ios.column_names.index("is_whole"), "is_whole", pa.array(lack == 0))
