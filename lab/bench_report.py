"""How fast `vio report` is, and how much memory it takes, on long recordings made from a real one.

A guest's load of 20 000 IOs is recorded once; lab.synthesize repeats it. The report runs in a process of its own, so
that its CPU time and its peak memory are the whole of what a user pays.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lab.synthesize import repeat_recording

_COUNTS = (5_000_000, 20_000_000)


@dataclass(frozen=True, slots=True)
class ReportCost:
    """One report: IOs, spans, CPU seconds, peak memory."""

    io_count: int
    span_count: int
    cpu_s: float
    peak_mib: float

    @property
    def row(self) -> str:
        """Give a row of a Markdown table."""
        return (
            f"| {self.io_count:,} | {self.span_count:,} | {self.cpu_s:.1f} | {self.span_count / self.cpu_s / 1e6:.2f} "
            f"| {self.io_count / self.cpu_s / 1e3:,.0f} | {self.peak_mib:,.0f} |"
        )


def run(source: Path, counts: tuple[int, ...] = _COUNTS) -> str:
    """Measure; return a table in Markdown."""
    lines = [
        "| IOs | spans | CPU s | million spans per CPU s | thousand IOs per CPU s | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="vio-bench-", dir=os.environ.get("VIO_BENCH_DIR")) as folder:
        one = _report(source, Path(folder))
        for count in counts:
            recording = Path(folder) / f"{count}.vio"
            repeat_recording(source, recording, round(count / one.io_count))
            lines.append(_report(recording, Path(folder)).row)
            subprocess.run(["rm", "-r", str(recording)], check=True)
    return "\n".join(lines)


def _report(recording: Path, folder: Path) -> ReportCost:
    table = folder / "ios.parquet"
    command = [sys.executable, "-m", "vio", "report", str(recording), "--output", str(table)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"vio report ended with {process.returncode}")
    children = pq.read_table(table, columns=["children"])["children"]
    table.unlink()
    spans = int(pc.sum(children).as_py()) + len(children)
    return ReportCost(len(children), spans, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
