"""How quick `vio compare` is, how large a baseline, and how far its quantiles are from the exact ones."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.compute as pc

from lab.shiftrun import shifted
from lab.synthesize import repeat_recording
from vio.comparer.baseline import save_baseline
from vio.comparer.reading import read_run
from vio.comparer.run import ROWS, Run
from vio.comparer.values import SHARES
from vio.reporter.iofile import io_tables

_IOS, _REPEATS = 1_000_000, 5
# A process that is as large as this one would lend its size to the one that it starts.
_MEASURE = """
import os, subprocess, sys, time
began_s = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
cpu_s = usage.ru_utime + usage.ru_stime
print(os.waitstatus_to_exitcode(status), time.monotonic() - began_s, cpu_s, usage.ru_maxrss)
"""


def run(source: Path) -> str:
    """Measure on a recording repeated to a million IOs; return Markdown."""
    count = sum(table.num_rows for table in io_tables(source, ("io",)))
    lines = ["| what | wall s | CPU s | peak MiB |", "|---|---|---|---|"]
    with TemporaryDirectory(prefix="vio-bench-", dir=os.environ.get("VIO_BENCH_DIR")) as scratch:
        sides = [Path(scratch) / name for name in ("base.vio", "new.vio")]
        for side in sides:
            repeat_recording(source, side, round(_IOS / count))
        lines.append(_row("two recordings of 1 M IOs, joined first", *map(str, sides)))
        lines.append(_row("the same again: their tables of IOs are there", *map(str, sides)))
        one = read_run(sides[0])
        for repeats in (_REPEATS, 1):
            baselines = [Path(scratch) / f"{side.stem}-{repeats}.viobase" for side in sides]
            for number, baseline in enumerate(baselines):
                save_baseline([_like(one, number * repeats + at) for at in range(repeats)], baseline)
            lines.append(_row(f"two baselines of {repeats} such runs each", *map(str, baselines)))
        size = baselines[0].stat().st_size
        lines += ["", f"A baseline of a run of 1 M IOs: {size / 1024:.0f} KiB.", "", *_error_lines(source, sides[0])]
    return "\n".join(lines)


def _like(run: Run, number: int) -> Run:
    """Give another run: the device takes a little longer."""
    return shifted(run, "device_between_ns", 0.002 * number)


def _row(name: str, base: str, new: str) -> str:
    words = (sys.executable, "-c", _MEASURE, sys.executable, "-m", "vio", "compare", base, new)
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    code, wall_s, cpu_s, peak_kib = (float(word) for word in said)
    if code not in (0, 1):
        raise RuntimeError(f"vio compare ended with {code:.0f}")
    return f"| {name} | {wall_s:.1f} | {cpu_s:.1f} | {peak_kib / 1024:,.0f} |"


def _error_lines(source: Path, long: Path) -> list[str]:
    """Compare the quantiles of every row with those of the IOs themselves."""
    errors = []
    for path in (source, long):
        whole = read_run(path).whole()
        for row in ROWS:
            sketches = [tally.rows[row] for tally in whole.tallies.values() if row in tally.rows]
            exact = np.concatenate([pc.drop_null(t[row]).to_numpy() for t in io_tables(path, (row,))])
            if len(sketches) == 1 and exact.size:
                wanted = np.quantile(exact, SHARES, method="inverted_cdf")
                shown = np.array(sketches[0].quantiles_ns(SHARES))
                errors.append(float(np.max(np.abs(shown - wanted) / np.maximum(wanted, 1))))
    return [f"Quantiles (p50 to p99.9) of {len(errors)} rows against the exact ones: off by at most {max(errors):.2%}."]
