"""Delays that QEMU makes: its throttling, and qcow2's own reads."""

from lab.load import KIB
from lab.truth.attribution import cell, cells_of
from lab.truth.play import Injection, Play, longer_by, span
from lab.truth.scene import CACHED, L2_SLICE_BYTES, OVERLAY, OVERLAY_CLUSTER, PLAIN, Scene, set_throttle
from lab.truth.slowserver import READ
from vio.layer import Op, Phase, Stage

_LIMIT_IOPS = 20
_LIMITED_COUNT, _LIMITED_DEPTH = 32, 4
_SLOW_MS = 40.0


def _throttle_filter(scene: Scene) -> Play:
    base = scene.reads(PLAIN, 100, rate=200).finish()
    set_throttle(scene, _LIMIT_IOPS)
    try:
        slow = scene.reads(PLAIN, _LIMITED_COUNT, depth=_LIMITED_DEPTH).finish()
    finally:
        set_throttle(scene, 0)
    return Play(PLAIN, (Op.READ,), span(base), span(slow), longer_by(base.read, slow.read), is_each=True)


def _throttle_device(scene: Scene) -> Play:
    base = scene.reads(PLAIN, 100, rate=200).finish()
    _limit_device(scene, _LIMIT_IOPS)
    try:
        slow = scene.reads(PLAIN, _LIMITED_COUNT, depth=_LIMITED_DEPTH).finish()
    finally:
        _limit_device(scene, 0)
    return Play(PLAIN, (Op.READ,), span(base), span(slow), longer_by(base.read, slow.read), is_each=True)


def _limit_device(scene: Scene, iops: int) -> None:
    others = dict.fromkeys(("iops_rd", "iops_wr", "bps", "bps_rd", "bps_wr"), 0)
    scene.qmp("block_set_io_throttle", id=f"/machine/peripheral/virtio{PLAIN}/virtio-backend", iops=iops, **others)


def _small_l2_cache(scene: Scene) -> Play:
    with scene.slow.slowed(read_ms=_SLOW_MS):
        base = scene.reads(CACHED, 10, span_bytes=L2_SLICE_BYTES).finish()
        slow = scene.reads(CACHED, 12).finish()
    return Play(
        CACHED, (Op.READ,), span(base), span(slow), scene.slow.extra_ns(READ, span(slow), slow.read.count), is_each=True
    )


def _copy_on_write(scene: Scene) -> Play:
    base = scene.writes(OVERLAY, 60, rate=200).finish()
    with scene.slow.slowed(read_ms=_SLOW_MS):
        slow = scene.fresh_writes(OVERLAY, 12, gap_bytes=OVERLAY_CLUSTER - 4 * KIB)
    copied_ns = scene.slow.extra_ns(READ, span(slow), slow.write.count, own=0)
    return Play(OVERLAY, (Op.WRITE,), span(base), span(slow), copied_ns, is_each=True)


INJECTIONS = (
    Injection(
        "qemu-throttle-filter",
        f"a throttle filter above qcow2, set to {_LIMIT_IOPS} IOs a second, under {_LIMITED_DEPTH} reads in flight",
        (cell(Stage.QEMU_BLOCK, Phase.DOWN),),
        "the filter is a node of the block graph: the request waits in it on its way down",
        "fio in the guest",
        _throttle_filter,
    ),
    Injection(
        "qemu-throttle-drive",
        f"throttling of the drive itself (block_set_io_throttle): {_LIMIT_IOPS} IOs a second, likewise",
        (cell(Stage.QEMU_BLOCK, Phase.DOWN),),
        "the request has entered the block layer (blk_aio_preadv) and waits before its first node",
        "fio in the guest",
        _throttle_device,
    ),
    Injection(
        "small-l2-cache",
        f"qcow2 with room for two slices of L2 table; random reads, {_SLOW_MS} ms each on the device",
        cells_of(Stage.DEVICE),
        "the tables are read from the same slow device: the deepest layer at work is the device",
        "the slow disk's log: reads beyond one for each IO",
        _small_l2_cache,
    ),
    Injection(
        "copy-on-write",
        f"first writes to clusters that a backing file holds, which lies on a device with {_SLOW_MS} ms a read",
        cells_of(Stage.DEVICE),
        "the cluster's old content is read from the backing file: the deepest layer at work is its device",
        "the slow disk's log",
        _copy_on_write,
    ),
)
