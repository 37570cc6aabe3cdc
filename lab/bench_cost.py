"""What recording costs the recorded: microseconds added to each IO, in paired runs of one load.

`qemu-img bench` on a qcow2 image with cache=none and aio=native, on XFS over a loop device over memory: the device is
so fast that the cost of tracing is nearly all that is left. Each round runs the load untraced, traced, and traced
in the plain style (one printf for each probe hit), so that a drift of the machine's speed meets all three alike.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab.disk import make_image
from lab.targets import TARGETS

IO_COUNT = 100_000
_GIB = 1 << 30
_TIME = re.compile(r"Run completed in ([0-9.]+) seconds")


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one load: untraced, recorded, and recorded in the plain style."""

    bare_s: float
    traced_s: float
    plain_s: float

    @property
    def added_us(self) -> float:
        """Microseconds that recording adds to each IO."""
        return (self.traced_s - self.bare_s) / IO_COUNT * 1e6

    @property
    def plain_added_us(self) -> float:
        """The same in the plain style."""
        return (self.plain_s - self.bare_s) / IO_COUNT * 1e6


def run(rounds: int = 5) -> str:
    """Measure; return a table in Markdown."""
    with TARGETS["xfs-loop-tmpfs"]() as target, tempfile.TemporaryDirectory() as scratch:
        image = filled_image(target.directory / "bench.qcow2")
        results = [_round(image, Path(scratch)) for _ in range(rounds)]
    lines = [
        "| round | untraced IOPS | recorded, us added | plain style, us added | ratio |",
        "|---|---|---|---|---|",
    ]
    for number, one in enumerate(results, 1):
        lines.append(
            f"| {number} | {IO_COUNT / one.bare_s:,.0f} | {one.added_us:.1f} | {one.plain_added_us:.1f} "
            f"| {one.added_us / one.plain_added_us:.2f} |"
        )
    ratios = [one.added_us / one.plain_added_us for one in results]
    added = median(one.added_us for one in results)
    plain = median(one.plain_added_us for one in results)
    lines.append(f"| median | | **{added:.1f}** | {plain:.1f} | **{median(ratios):.2f}** |")
    return "\n".join(lines)


def filled_image(path: Path) -> Path:
    """Make an image whose clusters are all allocated, so that the load itself writes no tables."""
    make_image(path, _GIB)
    fill = ["qemu-img", "bench", "-w", "-c", str(_GIB >> 16), "-s", "65536", "-S", "65536", "-d", "8", "-t", "none"]
    subprocess.run([*fill, "-f", "qcow2", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def bench_words(image: Path) -> list[str]:
    """Return the load: reads of 4 KiB, 32 at a time, each from another cluster."""
    words = ["qemu-img", "bench", "-c", str(IO_COUNT), "-d", "32", "-S", "69632", "-t", "none", "-n", "-f", "qcow2"]
    return [*words, str(image)]


def _round(image: Path, scratch: Path) -> Round:
    load = bench_words(image)
    record = [sys.executable, "-m", "vio", "record", "--force", "-o", str(scratch / "cost.vio")]
    return Round(_seconds(load), _seconds([*record, "--", *load]), _seconds([*record, "--plain", "--", *load]))


def _seconds(command: list[str]) -> float:
    return seconds_in(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def seconds_in(said: str) -> float:
    """Return the time that `qemu-img bench` says it took."""
    found = _TIME.search(said)
    if not found:
        raise RuntimeError(f"qemu-img bench said no time: {said[-500:]}")
    return float(found[1])
