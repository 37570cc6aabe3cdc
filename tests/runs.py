"""Made-up runs for tests of comparing: latencies drawn at random, all of whose time is in two layers."""

from dataclasses import replace

import numpy as np

from vio.comparer.run import BLOCKS, LATENCY, Block, DiskWords, Key, Run, RunInfo, Tally
from vio.comparer.sketch import Sketch
from vio.reporter.buckets import Ints, bucket_numbers

INFO = RunInfo("run.vio", 10**18, 10.0, "host", "6.1", 2, "7.2", "0.1", "0.17")
DEVICE, AIO = "device_between_ns", "qemu_aio_up_ns"


def a_sketch(values: Ints) -> Sketch:
    buckets, counts = np.unique(bucket_numbers(values), return_counts=True)
    return Sketch(buckets, counts, int(values.sum()))


def a_run(
    seed: int,
    *,
    device_ns: float = 900_000,
    noise: float = 0.01,
    count: int = 2_000,
    key: Key | None = None,
    info: RunInfo = INFO,
) -> Run:
    """Give a run whose IOs take `device_ns` in the device and 0.1 ms in QEMU, give or take; runs differ by `noise`."""
    draw = np.random.default_rng(seed)
    level = device_ns * (1 + noise * draw.standard_normal())
    blocks = []
    for number in range(BLOCKS):
        size = count // BLOCKS
        device = np.maximum(draw.normal(level, 0.1 * level, size), 1).astype(np.int64)
        aio = np.maximum(draw.normal(100_000, 5_000, size), 1).astype(np.int64)
        rows = {LATENCY: a_sketch(device + aio), DEVICE: a_sketch(device), AIO: a_sketch(aio)}
        tally = Tally(size, size * 4096, rows)
        begin_ns = number * 10**9
        blocks.append(Block(begin_ns, begin_ns + 10**9, {key or Key("vda", "read", 12): tally}))
    layers = ("block", "device", "fs", "qemu-aio", "qemu-block", "vfs")
    disks = (DiskWords("vda", "raw", "none", "native"),)
    return Run(replace(info, layers=info.layers or layers, disks=info.disks or disks), tuple(blocks))


def some_runs(first_seed: int, count: int = 5, **how: float) -> list[Run]:
    """Give repeats."""
    return [a_run(first_seed + number, **how) for number in range(count)]  # type: ignore[arg-type]
