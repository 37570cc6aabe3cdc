"""Real runs for `make bench-compare`: one load many times, some of them with a slowdown of known size in one layer.

The load is 200 random reads, one after the other, of an image on a slow disk (lab/truth/slowdisk.py), by `qemu-io`. The
settings take turns in an order drawn at random, so that what changes on the machine meanwhile is no setting's own.
"""

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from lab.scratch import scratch
from lab.session import VIO
from lab.truth.slowdisk import SlowDisk, slow_disk
from vio.reporter.iofile import io_tables

_MIB = 1 << 20
_IMAGE_BYTES, _DISK_BYTES = 16 * _MIB, 64 * _MIB
_IO_COUNT, _IO_BYTES = 200, 4096
_READ_MS = 20.0
_UNLIMITED = 1_000_000
_NICE = -15
_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the load: its name, the layer that is slowed, by which share of the mean, and how many runs."""

    name: str
    layer: str
    share: float
    run_count: int


BASE = Setting("base", "", 0.0, 30)
SLOWED = (
    Setting("device-10", "device", 0.10, 10),
    Setting("throttle-10", "qemu-block down", 0.10, 10),
    Setting("device-05", "device", 0.05, 8),
    Setting("throttle-05", "qemu-block down", 0.05, 8),
)


def record_runs(folder: Path, tell: Callable[[str], None], scale: float = 1.0) -> dict[str, list[Path]]:
    """Record the runs of every setting that `folder` has not yet; return their paths by setting."""
    plan = [
        (one, folder / one.name / f"{n:02}.vio") for one in (BASE, *SLOWED) for n in range(round(one.run_count * scale))
    ]
    todo = [(one, path) for one, path in plan if not path.exists()]
    random.Random(len(todo)).shuffle(todo)
    if todo:
        _record(folder, todo, tell)
    return {one.name: sorted((folder / one.name).glob("*.vio")) for one in (BASE, *SLOWED)}


def _record(folder: Path, todo: list[tuple[Setting, Path]], tell: Callable[[str], None]) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    with scratch("truth") as place, slow_disk(place, "ext4", _DISK_BYTES) as slow:
        image = slow.directory / "disk.raw"
        image.write_bytes(bytes(range(256)) * (_IMAGE_BYTES >> 8))
        subprocess.run(("sync", "-f", str(image)), check=True, timeout=60)
        slow.set_delay(read_ms=_READ_MS)
        _run(image, folder / "first.vio", _UNLIMITED)
        mean_ms, period_ms = _mean_and_period_ms(folder / "first.vio")
        for number, (setting, path) in enumerate(todo):
            tell(f"recording {number + 1} of {len(todo)}: {setting.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            _record_one(slow, image, setting, path, mean_ms, period_ms)


def _record_one(slow: SlowDisk, image: Path, setting: Setting, path: Path, mean_ms: float, period_ms: float) -> None:
    added_ms = setting.share * mean_ms
    is_device = setting.layer == "device"
    slow.set_delay(read_ms=_READ_MS + (added_ms if is_device else 0))
    is_throttled = bool(setting.layer) and not is_device
    _run(image, path, round(1000 / (period_ms + added_ms)) if is_throttled else _UNLIMITED)


def _run(image: Path, output: Path, iops: int) -> None:
    drawn = random.Random(1)
    offsets = [drawn.randrange(_IMAGE_BYTES // _IO_BYTES) * _IO_BYTES for _ in range(_IO_COUNT)]
    file = f"file.file.driver=file,file.file.filename={image},file.file.aio=native,file.file.cache.direct=on"
    node = f"driver=throttle,throttle-group=t,file.driver=raw,{file}"
    reads = [word for offset in offsets for word in ("-c", f"read -q {offset} {_IO_BYTES}")]
    load = ["qemu-io", "-r", "--object", f"throttle-group,id=t,x-iops-total={iops}", "--image-opts", node, *reads]
    subprocess.run(
        (*VIO, "record", "--force", "-o", str(output), "--", *load), check=True, capture_output=True, timeout=_LIMIT_S
    )


def _mean_and_period_ms(path: Path) -> tuple[float, float]:
    tables = list(io_tables(path, ("begin_ns", "latency_ns")))
    mean_ns = pc.mean(tables[0]["latency_ns"]).as_py()
    begin = tables[0]["begin_ns"]
    return mean_ns / 1e6, (pc.max(begin).as_py() - pc.min(begin).as_py()) / (len(begin) - 1) / 1e6
