"""Make tests/data/ill/*.vio anew: short real recordings, each with one illness really in it; as root.

`.venv/bin/python -m tests.data.make_illnesses [NAME...]` from the checkout. What each is, says lab/illness.
"""

import itertools
import shutil
import sys
import tempfile
from pathlib import Path

from lab.illness import inbench, inguest, inlab, inown
from lab.session import rename_images

from vio.errors import VioError

ILL = Path(__file__).parent / "ill"
LIMIT_BYTES = 200_000
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
MAKERS = (inguest, inbench, inown, inlab)
NAMES = tuple(one.name for maker in MAKERS for one in maker.ILLNESSES)


def main(*names: str) -> int:
    """Record those that are named, or all."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise VioError(f"no illness is called {', '.join(unknown)}", f"there are {', '.join(NAMES)}")
    chosen = frozenset(names or NAMES)
    ILL.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vio-ill-", dir="/var/tmp") as folder:
        for path, images in itertools.chain(*(maker.record(chosen, Path(folder)) for maker in MAKERS)):
            _keep(path, images)
    return 0


def _keep(path: Path, images: tuple[Path, ...]) -> None:
    for directory in images:
        rename_images(path, directory)
    for part in path.iterdir():
        if part.name not in KEPT:
            part.unlink()
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    sys.stderr.write(f"{path.name}: {size:,} bytes\n")
    if size > LIMIT_BYTES:
        raise VioError(f"{path.name} is too large for a fixture: {size:,} bytes", "let it do less")
    shutil.rmtree(ILL / path.name, ignore_errors=True)
    shutil.copytree(path, ILL / path.name)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except VioError as error:
        sys.exit(f"make_illnesses: {error}")
