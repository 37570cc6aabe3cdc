"""Real runs for `make bench-compare`: one load many times, some of them with a slowdown of known size in one layer.

The load is 500 random reads, one after the other, of an image on a slow disk (lab/truth/slowdisk.py), by `qemu-io`. The
settings take turns in an order drawn at random, so that what changes on the machine meanwhile is no setting's own.
"""

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.scratch import scratch
from lab.session import VIO
from lab.truth.slowdisk import slow_disk

_MIB = 1 << 20
_IMAGE_BYTES, _DISK_BYTES = 16 * _MIB, 64 * _MIB
_IO_COUNT, _IO_BYTES = 500, 4096
_READ_MS = 4.0
_UNLIMITED = 1_000_000
_LIMIT = 150
_NICE = -15
_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the load: how long the disk takes, QEMU's limit of IOs per second, how many runs.

    A slowed one says how it differs from the setting `base`: by a share of the mean, in a layer.
    """

    name: str
    run_count: int
    read_ms: float = _READ_MS
    iops: int = _UNLIMITED
    base: str = ""
    layer: str = ""
    share: float = 0.0


BASE = Setting("base", 30)
"""The mean is some 4.4 ms where the machine has nothing else to do."""
LIMITED = Setting("limited", 12, iops=_LIMIT)
SLOWED = (
    Setting("device-10", 10, read_ms=_READ_MS + 0.44, base="base", layer="device", share=0.10),
    Setting("limited-10", 8, iops=round(_LIMIT / 1.10), base="limited", layer="qemu-block down", share=0.10),
    Setting("device-05", 8, read_ms=_READ_MS + 0.22, base="base", layer="device", share=0.05),
    Setting("limited-05", 8, iops=round(_LIMIT / 1.05), base="limited", layer="qemu-block down", share=0.05),
)
SETTINGS = (BASE, LIMITED, *SLOWED)


def record_runs(folder: Path, tell: Callable[[str], None]) -> dict[str, list[Path]]:
    """Record the runs of every setting that `folder` has not yet; return their paths by setting."""
    plan = [(one, folder / one.name / f"{number:02}.vio") for one in SETTINGS for number in range(one.run_count)]
    todo = [(one, path) for one, path in plan if not path.exists()]
    random.Random(len(todo)).shuffle(todo)
    if todo:
        _record(todo, tell)
    return {one.name: sorted((folder / one.name).glob("*.vio")) for one in SETTINGS}


def _record(todo: list[tuple[Setting, Path]], tell: Callable[[str], None]) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    with scratch("truth") as place, slow_disk(place, "ext4", _DISK_BYTES) as slow:
        image = slow.directory / "disk.raw"
        image.write_bytes(bytes(range(256)) * (_IMAGE_BYTES >> 8))
        subprocess.run(("sync", "-f", str(image)), check=True, timeout=60)
        for number, (setting, path) in enumerate(todo):
            tell(f"recording {number + 1} of {len(todo)}: {setting.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            slow.set_delay(read_ms=setting.read_ms)
            _run(image, path, setting.iops)


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
