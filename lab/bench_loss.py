"""Whether anything is lost in a minute at the highest rate that the load of lab.bench_cost reaches."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.bench_cost import filled_image
from lab.targets import TARGETS
from vio.recording import MANIFEST

_SECONDS = 60


def run(seconds: int = _SECONDS) -> str:
    """Record for `seconds`; return a line with rows, the kernel's own count, and losses."""
    with TARGETS["xfs-loop-tmpfs"]() as target, tempfile.TemporaryDirectory() as scratch:
        image = filled_image(target.directory / "loss.qcow2")
        output = Path(scratch) / "loss.vio"
        load = ["qemu-img", "bench", "-c", str(10**9), "-d", "32", "-S", "69632", "-t", "none", "-n", "-f", "qcow2"]
        with subprocess.Popen([*load, str(image)], stdout=subprocess.DEVNULL) as bench:
            try:
                record = [sys.executable, "-m", "vio", "record", "--pid", str(bench.pid), "--duration", f"{seconds}s"]
                subprocess.run([*record, "-o", str(output)], check=True, capture_output=True)
            finally:
                bench.terminate()
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    counts, losses = manifest["counts"], manifest["losses"]
    return (
        f"{seconds} s: {counts['rows']:,} rows stored ({counts['rows'] / seconds:,.0f}/s), {counts['in_kernel']:,} "
        f"counted in the kernel, {losses['records']:,} known to be lost, {counts['unaccounted']:,} unaccounted for; "
        f"{manifest['cost']['io_count'] / seconds:,.0f} IOs a second"
    )
