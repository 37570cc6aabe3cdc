"""What `vio top` costs the watched: microseconds added to each IO, in pairs of one load, as for recording (bench_cost).

The CPU time is that of the load's own process, with the probes that run in it; what runs in interrupts and in the
kernel's threads is in the wall time.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab.bench_cost import IO_COUNT, bench_words, filled_image, seconds_in
from lab.processes import children_of
from lab.targets import TARGETS

_POLL_S = 0.01
_TICKS = 100  # USER_HZ
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """One load: its wall time and the CPU time of its process."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One load untraced, and the same watched."""

    bare: Run
    watched: Run

    @property
    def wall_us(self) -> float:
        """Wall time that watching adds to each IO."""
        return (self.watched.wall_s - self.bare.wall_s) / IO_COUNT * 1e6

    @property
    def cpu_us(self) -> float:
        """CPU time that watching adds to each IO, in the process that is watched."""
        return (self.watched.cpu_s - self.bare.cpu_s) / IO_COUNT * 1e6


def run(rounds: int = 5) -> str:
    """Measure; return a table in Markdown."""
    with TARGETS["xfs-loop-tmpfs"]() as target:
        load = bench_words(filled_image(target.directory / "bench.qcow2"))
        pairs = [Pair(_run(load), _run([sys.executable, "-m", "vio", "top", "--", *load])) for _ in range(rounds)]
    lines = ["| round | untraced IOPS | watched IOPS | us added, wall | us added, CPU |", "|---|---|---|---|---|"]
    for number, one in enumerate(pairs, 1):
        bare, watched = IO_COUNT / one.bare.wall_s, IO_COUNT / one.watched.wall_s
        lines.append(f"| {number} | {bare:,.0f} | {watched:,.0f} | {one.wall_us:.1f} | {one.cpu_us:.1f} |")
    wall, cpu = median(one.wall_us for one in pairs), median(one.cpu_us for one in pairs)
    lines.append(f"| median | | | **{wall:.1f}** | **{cpu:.1f}** |")
    return "\n".join(lines)


def _run(command: Sequence[str]) -> Run:
    """Run a load, or `vio top` that starts it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        cpu_s, deadline = 0.0, time.monotonic() + _LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            cpu_s = max(cpu_s, *(_cpu_s(pid) for pid in (process.pid, *children_of(process.pid))))
            time.sleep(_POLL_S)
        out, complaint = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {complaint[-500:]}")
    return Run(seconds_in(out), cpu_s)


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process that is qemu-img, ended or not; 0 of others."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return 0.0
    return sum(map(int, rest.split()[11:13])) / _TICKS if name.endswith("(qemu-img") else 0.0
