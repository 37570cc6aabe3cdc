"""Make tests/data/bench.vio anew: a short real recording of `qemu-img bench` on qcow2; as root.

`.venv/bin/python tests/data/make_bench.py` from the checkout.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from lab.session import rename_images
from lab.targets import xfs_on_loop

BENCH = Path(__file__).parent / "bench.vio"
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}


def main() -> int:
    """Record 96 writes with three flushes, four at a time."""
    with xfs_on_loop() as target:
        image = target.directory / "disk.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", str(image), "64M"]
        subprocess.run(create, check=True, timeout=60)
        load = [
            "qemu-img",
            "bench",
            "-q",
            "-f",
            "qcow2",
            "-t",
            "none",
            "-n",
            "-w",
            "-c",
            "96",
            "-d",
            "4",
            "-S",
            "69632",
        ]
        load += ["--flush-interval=32", str(image)]
        shutil.rmtree(BENCH, ignore_errors=True)
        record = [sys.executable, "-m", "vio", "record", "-o", str(BENCH), "--", *load]
        subprocess.run(record, check=True, timeout=120)
        rename_images(BENCH, target.directory)
    for path in BENCH.iterdir():
        if path.name not in KEPT:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
