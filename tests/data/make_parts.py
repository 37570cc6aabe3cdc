"""Make tests/data/parts.vio anew: a short real recording with inner points, of writes that allocate; as root.

`.venv/bin/python tests/data/make_parts.py` from the checkout.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from lab.session import rename_images
from lab.targets import xfs_on_loop

PARTS = Path(__file__).parent / "parts.vio"
EXAMPLES = Path(__file__).parents[2] / "examples" / "probes"
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
POINTS = ("uprobe:qcow2_cache_put", "uprobe:thread_pool_submit_aio", "tracepoint:syscalls:sys_enter_io_submit")


def main() -> int:
    """Record 96 writes with three flushes, four at a time, with the example's points and some named ones."""
    with xfs_on_loop() as target:
        image = target.directory / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True, timeout=60)
        load = ["qemu-img", "bench", "-q", "-f", "qcow2", "-t", "none", "-n", "-w", "-c", "96", "-d", "4"]
        load += ["-S", "69632", "--flush-interval=32", str(image)]
        shutil.rmtree(PARTS, ignore_errors=True)
        points = [word for point in POINTS for word in ("--point", point)]
        record = [sys.executable, "-m", "vio", "record", "-o", str(PARTS), "--probes", str(EXAMPLES), *points]
        subprocess.run([*record, "--", *load], check=True, timeout=120)
        rename_images(PARTS, target.directory)
    for path in PARTS.iterdir():
        if path.name not in KEPT:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
