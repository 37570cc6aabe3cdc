"""Make tests/data/repeats anew: as root, seven runs of examples/bench/allocation.toml under each setting.

There is a baseline of them, and the recording of the first.

`PYTHONPATH=. .venv/bin/python tests/data/make_repeats.py` from the checkout.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from lab.session import rename_images
from lab.targets import xfs_on_loop

REPEATS = Path(__file__).parent / "repeats"
SCENARIO = Path(__file__).parents[2] / "examples" / "bench" / "allocation.toml"
VIO = (sys.executable, "-m", "vio")


def main() -> int:
    """Bench 96 writes with three flushes, four at a time."""
    with xfs_on_loop() as target:
        place = target.directory / "bench"
        values = ("--set", "count=96", "--set", f"place={target.directory / 'image'}")
        # 1: slower, which is what is wanted
        scenario = target.directory / SCENARIO.name
        scenario.write_text(SCENARIO.read_text().replace("aa = 3", "aa = 0"))
        ran = subprocess.run((*VIO, "bench", str(scenario), "-o", str(place), *values), check=False, timeout=1200)
        if ran.returncode not in (0, 1):
            return ran.returncode
        REPEATS.mkdir(exist_ok=True)
        for side, name in (("a", "preallocated"), ("b", "grows")):
            save = (*VIO, "baseline", "save", "--force", str(place / side), str(REPEATS / name))
            subprocess.run(save, check=True, timeout=120)
            _keep(place / side / "001.vio", REPEATS / f"{name}.vio", target.directory)
    return 0


def _keep(recording: Path, target: Path, directory: Path) -> None:
    rename_images(recording, directory)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(recording, target, ignore=shutil.ignore_patterns("program.bt", "ios.*"))


if __name__ == "__main__":
    sys.exit(main())
