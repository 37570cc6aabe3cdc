"""Make tests/data/writeback.vio anew: a short real recording of writes through the page cache; as root.

`.venv/bin/python tests/data/make_writeback.py` from the checkout. What was written is in writeback.json beside it.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

from lab.cachedio import record_cached
from lab.disk import Aio, Format
from lab.session import rename_images
from lab.targets import xfs_on_loop

RECORDING = Path(__file__).parent / "writeback.vio"
TRUTH = Path(__file__).parent / "writeback.json"
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
COUNT = 30


def main() -> int:
    """Record 30 writes that are synced, of which 3 are overwritten before, 30 that are flushed, and 3 that are left."""
    shutil.rmtree(RECORDING, ignore_errors=True)
    with xfs_on_loop() as target:
        truth = record_cached(target, RECORDING, image_format=Format.QCOW2, aio=Aio.IO_URING, count=COUNT)
        rename_images(RECORDING, target.directory)
    for path in RECORDING.iterdir():
        if path.name not in KEPT:
            path.unlink()
    told = {name: value for name, value in dataclasses.asdict(truth).items() if name != "devices"}
    TRUTH.write_text(json.dumps(told) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
