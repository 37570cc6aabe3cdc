"""Builders of test data: per-IO tables whose times add up, and what a report knows of a recording."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.layer import Layer, Phase, Stage
from vio.losses import Loss
from vio.manifest import (
    AbsentPoint,
    Clock,
    Creator,
    DiskInfo,
    End,
    EndReason,
    HostInfo,
    Manifest,
    Moment,
    PointInfo,
    SchemaVersion,
    State,
    TargetInfo,
)
from vio.reporter.busy import Busy
from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.fanout import Fanout
from vio.reporter.parts import PartsReader
from vio.reporter.quality import Evidence, JoinQuality
from vio.reporter.recorded import Recorded
from vio.reporter.shown import ShownPlaces
from vio.reporter.waits import WITHIN, Wait, Waits
from vio.reporter.waitsum import WaitSummary
from vio.reporter.writeback import Writeback
from vio.schema import IOS, LACKS, MAJOR, MINOR, arrow_schema, time_column

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# A column: its values, and which of them are there.
Masked = tuple[Ints, Bools]

START_NS = 1_000_000_000_000
WALL_NS = 1_790_000_000_000_000_000
HOST_STAGES = tuple(Stage)[:7]

# Mean own time of each stage in ns, in the phases down, between, up.
_MEANS_NS = {
    Stage.QEMU_DEVICE: (6_000, 0, 9_000),
    Stage.QEMU_BLOCK: (8_000, 1_500, 4_000),
    Stage.QEMU_AIO: (3_000, 0, 12_000),
    Stage.VFS: (2_000, 0, 1_500),
    Stage.FS: (5_000, 700, 2_500),
    Stage.BLOCK: (14_000, 0, 1_000),
    Stage.DEVICE: (0, 90_000, 0),
    Stage.LOOP_FS: (4_000, 0, 2_000),
    Stage.LOOP_BLOCK: (6_000, 0, 1_000),
    Stage.LOOP_DEVICE: (0, 70_000, 0),
}
# The stages' time stamps, the first on the way down and the last on the way up.
_STAMPS = {
    Stage.QEMU_DEVICE: (("accept",), ("push", "notify")),
    Stage.QEMU_BLOCK: (("block_begin",), ("block_end",)),
    Stage.QEMU_AIO: (("node_begin", "aio_submit"), ("aio_end",)),
    Stage.VFS: (("vfs_begin",), ("vfs_end",)),
    Stage.FS: (("fs_begin",), ("fs_end",)),
    Stage.BLOCK: (("bio_queue", "rq_insert"), ("rq_complete",)),
    Stage.DEVICE: (("rq_issue",), ("rq_complete",)),
    Stage.LOOP_FS: (("loop_fs_begin",), ("loop_fs_end",)),
    Stage.LOOP_BLOCK: (("loop_bio_queue",), ("loop_rq_complete",)),
    Stage.LOOP_DEVICE: (("loop_rq_issue",), ("loop_rq_complete",)),
}


def an_io_table(
    count: int,
    seed: int = 0,
    *,
    stages: Sequence[Stage] = HOST_STAGES,
    disks: int = 1,
    unended: int = 0,
    first_io: int = 0,
    begin_ns: int = START_NS,
) -> pa.Table:
    """Make random IOs whose stage times add up to their latency; the last `unended` of them have no end."""
    rng = np.random.RandomState(seed)  # its numbers are the same with every NumPy: golden files rest on them
    op = rng.choice(4, count, p=[0.55, 0.38, 0.06, 0.01])
    deepest = np.where(rng.random_sample(count) < 0.9, len(stages) - 1, rng.randint(0, len(stages), count))
    has_end = np.arange(count) < count - unended
    lack = np.where(has_end, np.where(rng.random_sample(count) < 0.004, rng.choice(list(LACKS)[1:], count), 0), 1)
    begin = begin_ns + np.cumsum(rng.randint(1, 40_000, count))
    unattributed = np.where(lack > 1, rng.randint(1_000, 20_000, count), 0)
    times = _own_times(rng, stages, deepest)
    columns = _heads(rng, op, begin, disks, first_io, lack)
    columns["reached"] = _all(np.array([list(Stage).index(stage) for stage in stages])[deepest])
    columns |= _time_stamps(begin, times, unattributed, has_end)
    latency = unattributed + np.sum([values for values, _ in times.values()], axis=0)
    columns |= {name: (values, there & has_end) for name, (values, there) in times.items()}
    columns |= {"unattributed_ns": (unattributed, has_end), "latency_ns": (latency, has_end)}
    columns |= _lower_addresses(columns, times)
    return _table(columns, count)


def _all(values: npt.ArrayLike) -> Masked:
    array = np.asarray(values)
    return array, np.ones(array.size, dtype=np.bool_)


def _heads(
    rng: np.random.RandomState, op: Ints, begin: Ints, disks: int, first_io: int, lack: Ints
) -> dict[str, Masked]:
    count = op.size
    length = np.where(op == 2, 0, 4096 * rng.randint(1, 33, count))
    columns = {
        "io": first_io + np.arange(count),
        "disk": rng.randint(0, disks, count),
        "op": op,
        "offset": np.where(op == 2, 0, 4096 * rng.randint(0, 1 << 20, count)),
        "bytes": length,
        "tid": rng.randint(4000, 4003, count),
        "begin_ns": begin,
        "merged_into": np.full(count, -1),
        "is_whole": lack == 0,
        "is_ambiguous": rng.random_sample(count) < 0.001,
        "lack": lack,
        "children": rng.randint(1, 8, count),
    }
    return {name: _all(values) for name, values in columns.items()}


def _own_times(rng: np.random.RandomState, stages: Sequence[Stage], deepest: Ints) -> dict[str, Masked]:
    """Draw the own times by column; 0 and absent where an IO did not reach the stage.

    As in the join, all the own time of an IO's lowest stage is `between`.
    """
    times: dict[str, Masked] = {}
    for depth, stage in enumerate(stages):
        reached, is_lowest = deepest >= depth, deepest == depth
        drawn = [_draw(rng, mean_ns, deepest.size) for mean_ns in _MEANS_NS[stage]]
        parts = dict(zip(Phase, drawn, strict=True))
        parts[Phase.BETWEEN] = np.where(is_lowest, sum(drawn), parts[Phase.BETWEEN])
        for phase, values in parts.items():
            is_there = reached & (~is_lowest | (phase is Phase.BETWEEN))
            times[time_column(stage, phase)] = (np.where(is_there, values, 0), reached)
    return times


def _draw(rng: np.random.RandomState, mean_ns: int, count: int) -> Ints:
    if not mean_ns:
        return np.zeros(count, dtype=np.int64)
    return rng.lognormal(np.log(mean_ns) - 0.32, 0.8, count).astype(np.int64)


def _time_stamps(begin: Ints, times: dict[str, Masked], unattributed: Ints, has_end: Bools) -> dict[str, Masked]:
    """Put the time stamps where the own times have them: nested, with what lies between at the deepest place."""
    end = begin + unattributed + np.sum([values for values, _ in times.values()], axis=0)
    columns: dict[str, Masked] = {}
    first, last = begin, end
    for stage, (begins, ends) in _STAMPS.items():
        if time_column(stage, Phase.DOWN) not in times:
            continue
        down, there = times[time_column(stage, Phase.DOWN)]
        columns |= {f"t_{name}_ns": (first, there) for name in begins}
        columns |= {f"t_{name}_ns": (last, there & has_end) for name in ends}
        first, last = first + down, last - times[time_column(stage, Phase.UP)][0]
    return columns


def _lower_addresses(columns: dict[str, Masked], times: dict[str, Masked]) -> dict[str, Masked]:
    nowhere = _all(np.zeros(columns["offset"][0].size, dtype=np.bool_))
    aio = times.get(time_column(Stage.QEMU_AIO, Phase.DOWN), nowhere)[1]
    block = times.get(time_column(Stage.BLOCK, Phase.DOWN), nowhere)[1]
    offset = columns["offset"][0]
    return {
        "file_offset": (offset + 327_680, aio),
        "device": (np.full(offset.size, 259 << 20), block),
        "device_offset": (offset + 1_048_576, block),
    }


def _table(columns: dict[str, Masked], count: int) -> pa.Table:
    arrays = []
    for column in IOS:
        values, there = columns.get(column.name, (np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)))
        mask = None if there.all() and count else ~there
        arrays.append(pa.array(values, mask=mask).cast(column.type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(IOS))


def a_manifest(disks: int = 1, absent: Sequence[AbsentPoint] = (), stages: Sequence[Stage] = HOST_STAGES) -> Manifest:
    """Make the manifest of a short recording of one VM."""
    layers = dict.fromkeys(stage.layer for stage in stages)
    return Manifest(
        schema=SchemaVersion(MAJOR, MINOR),
        creator=Creator("vio", "0.1.0", "0.17.0"),
        state=State.COMPLETE,
        host=HostInfo("hypervisor", "6.18.5", "x86_64", 2),
        clock=Clock(Moment(START_NS, WALL_NS), Moment(START_NS + 10_000_000_000, WALL_NS + 10_000_000_000)),
        target=TargetInfo(
            pid=4321,
            kind="qemu-system",
            name="web-1",
            exe="/usr/bin/qemu-system-x86_64",
            version="7.2.22",
            disks=tuple(a_disk(number) for number in range(disks)),
        ),
        points=tuple(a_point(number, layer) for number, layer in enumerate(layers)),
        absent=tuple(absent),
        end=End(EndReason.STOPPED),
    )


def a_disk(number: int = 0) -> DiskInfo:
    """Make one disk: vda, vdb, ..."""
    name = f"vd{chr(ord('a') + number)}"
    return DiskInfo(name, "virtio-blk", "qcow2", f"/srv/vm/{name}.qcow2", "none", "native")


def a_point(number: int, layer: Layer) -> PointInfo:
    """Make a point of a layer."""
    return PointInfo(number, f"{layer}_begin", layer, "begin", f"{layer} begins", "", "uprobe")


def a_recorded(
    disks: int = 1,
    losses: Sequence[Loss] = (),
    absent: Sequence[AbsentPoint] = (),
    stages: Sequence[Stage] = HOST_STAGES,
) -> Recorded:
    """Make what a report knows of a recording of 10 s."""
    return Recorded("demo.vio", a_manifest(disks, absent, stages), tuple(losses), START_NS + 9_999_000_000)


def a_quality() -> JoinQuality:
    """Make figures of a join, one of them not perfect."""
    quality = JoinQuality()
    quality.count("qemu-device", "qemu-block", Evidence.IDENTITY, parents=9_000, joined=9_000)
    quality.count("qemu-block", "qemu-aio", Evidence.IDENTITY, parents=9_000, joined=8_940, checked=8_940)
    quality.count("qemu-aio", "vfs", Evidence.NESTING, parents=8_940, joined=8_940, checked=8_000, disagree=2)
    quality.count("fs", "block", Evidence.ADDRESS, parents=8_800, joined=8_799)
    quality.orphans["requests of neighbours"] = 120
    quality.ambiguous = 7
    return quality


def some_waits(count: int) -> WaitSummary:
    """Make waits of IOs, of which one is not known."""
    number = np.arange(count)
    within = np.zeros((len(WITHIN), len(Stage), count), np.int64)
    within[0, 2], within[0, 4] = 1_500 + number, np.where(number % 3, 0, 4_000)
    within[1, 2, 7] = 80_000_000
    within[2, 2] = 2_000 + number
    outside = {Wait.KICK: np.where(number % 4, 30_000, -1), Wait.INJECT: np.full(count, 9_000)}
    found = WaitSummary()
    found.add(Waits(within, within.sum(axis=1), outside, number > 0))
    return found


def a_writeback() -> WritebackFigures:
    """Make figures of a page cache; what was written to it and to the devices adds up."""
    figures = WritebackFigures(
        cached_bytes=10_000_000,
        linked_bytes=9_000_000,
        own_bytes=200_000,
        overwritten_bytes=300_000,
        dropped_bytes=100_000,
        left_bytes=350_000,
        left_ios=40,
        lost_bytes=50_000,
        device_bytes=9_500_000,
        bios=900,
        linked_bios=700,
        caused_bytes=2_000_000,
        qemu_bytes=65_536,
        unwritten_bytes=34_464,
        disagreeing_bytes=100_000,
        unmapped_bytes=100_000,
    )
    figures.after_end.add(np.arange(1, 1000) * 1_000_000)
    return figures


@dataclass
class MadeStream:
    """What a join of these tables would give."""

    made: list[pa.Table]
    quality: JoinQuality
    writeback: Writeback | None = None
    shown: ShownPlaces | None = None
    parts: PartsReader | None = None
    stages: pa.Table | None = None
    waits: Waits | None = None
    fanout: Fanout | None = None
    busy: Busy | None = None

    def tables(self) -> Iterator[pa.Table]:
        yield from self.made


def a_stream(ios: list[pa.Table]) -> MadeStream:
    """Make a stream for a report."""
    return MadeStream(ios, a_quality())
