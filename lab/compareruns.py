"""Real runs for `make bench-compare`: one load many times, some of them with a slowdown of known size in one layer.

`python -m lab.compareruns FOLDER [MOST]` records what FOLDER has not yet, MOST runs of it.

The load is 500 random reads, one after the other, of an image on a slow disk (lab/truth/slowdisk.py), by `qemu-io`. The
settings take turns, and each is spread evenly over the whole time, so that what changes on the machine meanwhile is no
setting's own. QEMU, the disk and what is between them go before the machine's other work (lab/priority.py), and a run
during which the hypervisor below withheld more than 2 % of the CPUs is made again, whatever its figures: it is not the
machine that is on trial here.
"""

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.priority import hurried_workers, hurry, preferred
from lab.processes import children_of
from lab.scratch import scratch
from lab.session import VIO
from lab.truth.slowdisk import slow_disk
from vio.bencher.steal import stolen_share
from vio.errors import VioError

_MIB = 1 << 20
_IMAGE_BYTES, _DISK_BYTES = 16 * _MIB, 64 * _MIB
_IO_COUNT, _IO_BYTES = 500, 4096
_READ_MS = 4.0
_UNLIMITED = 1_000_000
_LIMIT, _LIMITED_READ_MS = 110, 1.5
_LIMIT_S = 600
_MOST_STOLEN, _MOST_TRIES = 0.02, 20
_SEED = 6


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


BASE = Setting("base", 24)
"""The mean is some 4.3 ms, nearly all of it the disk's."""
LIMITED = Setting("limited", 12, _LIMITED_READ_MS, _LIMIT)
"""A throttled guest: the disk would do in 2 ms what QEMU lets pass every 9 ms."""
SLOWED = (
    Setting("device-10", 12, read_ms=_READ_MS + 0.43, base="base", layer="device", share=0.10),
    Setting(
        "limited-10", 12, _LIMITED_READ_MS, round(_LIMIT / 1.10), base="limited", layer="qemu-block down", share=0.10
    ),
    Setting("device-05", 8, read_ms=_READ_MS + 0.215, base="base", layer="device", share=0.05),
    Setting(
        "limited-05", 8, _LIMITED_READ_MS, round(_LIMIT / 1.05), base="limited", layer="qemu-block down", share=0.05
    ),
)
SETTINGS = (BASE, LIMITED, *SLOWED)


def record_runs(folder: Path, tell: Callable[[str], None], most: int | None = None) -> dict[str, list[Path]]:
    """Record the runs of every setting that `folder` has not yet, or so many; return all paths by setting."""
    todo = [(setting, path) for setting, path in _plan(folder) if not path.exists()]
    if todo:
        _record(todo[:most], tell)
    return {one.name: sorted((folder / one.name).glob("*.vio")) for one in SETTINGS}


def _plan(folder: Path) -> list[tuple[Setting, Path]]:
    """Order all runs: the n-th of a setting's N comes somewhere in the n-th of N equal parts of the time."""
    draw = random.Random(_SEED)
    placed = [
        ((number + draw.random()) / one.run_count, one, folder / one.name / f"{number:02}.vio")
        for one in SETTINGS
        for number in range(one.run_count)
    ]
    return [(setting, path) for _, setting, path in sorted(placed, key=lambda run: run[0])]


def _record(todo: list[tuple[Setting, Path]], tell: Callable[[str], None]) -> None:
    with preferred(), scratch("truth") as place, slow_disk(place, "ext4", _DISK_BYTES) as slow:
        image = slow.directory / "disk.raw"
        image.write_bytes(bytes(range(256)) * (_IMAGE_BYTES >> 8))
        subprocess.run(("sync", "-f", str(image)), check=True, timeout=60)
        hurry(slow.server_pid)
        for number, (setting, path) in enumerate(todo):
            tell(f"recording {number + 1} of {len(todo)}: {setting.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            slow.set_delay(read_ms=setting.read_ms)
            _run_undisturbed(image, path, setting.iops, tell)


def _run_undisturbed(image: Path, output: Path, iops: int, tell: Callable[[str], None]) -> None:
    """Record one run, again if it was disturbed; it is not in its place before it is whole."""
    part = output.with_suffix(".part")
    for _ in range(_MOST_TRIES):
        _run(image, part, iops)
        share = stolen_share(part)
        if share <= _MOST_STOLEN:
            part.rename(output)
            return
        tell(f"{share:.0%} of the CPUs was withheld: once more")
    raise VioError(f"{_MOST_TRIES} runs in a row were disturbed", "the runs so far are kept: go on later")


def _run(image: Path, output: Path, iops: int) -> None:
    drawn = random.Random(1)
    offsets = [drawn.randrange(_IMAGE_BYTES // _IO_BYTES) * _IO_BYTES for _ in range(_IO_COUNT)]
    file = f"file.file.driver=file,file.file.filename={image},file.file.aio=native,file.file.cache.direct=on"
    node = f"driver=throttle,throttle-group=t,file.driver=raw,{file}"
    reads = [word for offset in offsets for word in ("-c", f"read -q {offset} {_IO_BYTES}")]
    load = ["qemu-io", "-r", "--object", f"throttle-group,id=t,x-iops-total={iops}", "--image-opts", node, *reads]
    words = (*VIO, "record", "--force", "-o", str(output), "--", *load)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as recorder, hurried_workers():
        hurry(_load_of(recorder))
        _, said = recorder.communicate(timeout=_LIMIT_S)
    if recorder.returncode:
        raise VioError(f"a run could not be recorded: {said.decode(errors='replace')}")


def _load_of(recorder: "subprocess.Popen[bytes]") -> int:
    """Find the process that the recorder holds back until its probes are there."""
    while recorder.poll() is None:
        for child in children_of(recorder.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                # a child that is not yet what it will be has the recorder's own words
                if b"qemu-io" in words and b"record" not in words:
                    return child
        time.sleep(0.05)
    raise VioError("the recorder has not started the load")


def _tell(text: str) -> None:
    sys.stderr.write(f"compareruns: {text}\n")


if __name__ == "__main__":
    record_runs(Path(sys.argv[1]), _tell, int(sys.argv[2]) if len(sys.argv) > 2 else None)
