"""Make tests/data/repeats anew: baselines of seven runs of examples/bench/allocation.toml under each setting; as root.

`.venv/bin/python tests/data/make_repeats.py` from the checkout.
"""

import subprocess
import sys
from pathlib import Path

from lab.targets import xfs_on_loop

REPEATS = Path(__file__).parent / "repeats"
SCENARIO = Path(__file__).parents[2] / "examples" / "bench" / "allocation.toml"
VIO = (sys.executable, "-m", "vio")


def main() -> int:
    """Bench 96 writes, as in bench.vio and parts.vio."""
    with xfs_on_loop() as target:
        place = target.directory / "bench"
        values = ("--set", "count=96", "--set", f"place={target.directory / 'image'}")
        # 1: slower, which is what is wanted
        ran = subprocess.run((*VIO, "bench", str(SCENARIO), "-o", str(place), *values), check=False, timeout=1200)
        if ran.returncode not in (0, 1):
            return ran.returncode
        REPEATS.mkdir(exist_ok=True)
        for side, name in (("a", "preallocated"), ("b", "grows")):
            save = (*VIO, "baseline", "save", "--force", str(place / side), str(REPEATS / name))
            subprocess.run(save, check=True, timeout=120)
    return 0


if __name__ == "__main__":
    sys.exit(main())
