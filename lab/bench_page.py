"""What `vio report --html` costs beside the report, on a million IOs: CPU time, memory, and how large the page is."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.synthesize import repeat_recording
from vio.reporter.report import ReportOptions, report

_IO_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of vio: CPU seconds, seconds on the clock, peak memory."""

    cpu_s: float
    wall_s: float
    peak_mib: float

    def row(self, what: str, size: str) -> str:
        """Give a row of a Markdown table."""
        return f"| {what} | {self.cpu_s:.1f} | {self.wall_s:.1f} | {self.peak_mib:,.0f} | {size} |"


def run(source: Path) -> str:
    """Measure; return a table in Markdown."""
    lines = ["| 1 million IOs | CPU s | s | peak MiB | page |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="vio-bench-", dir=os.environ.get("VIO_BENCH_DIR")) as folder:
        recording, page = Path(folder) / "long.vio", Path(folder) / "page.html"
        io_count = report(source, ReportOptions(is_table_written=False)).summary.total().io_count
        repeat_recording(source, recording, round(_IO_COUNT / io_count))
        table = ["--output", str(Path(folder) / "ios.parquet")]
        lines.append(_cost([str(recording), *table]).row("text", ""))
        with_page = _cost([str(recording), *table, "--html", str(page)])
        lines.append(with_page.row("text and page", f"{page.stat().st_size / 1e6:.2f} MB"))
    return "\n".join(lines)


def _cost(words: list[str]) -> Cost:
    before = os.times().elapsed
    process = subprocess.Popen([sys.executable, "-m", "vio", "report", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"vio report ended with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, os.times().elapsed - before, usage.ru_maxrss / 1024)
