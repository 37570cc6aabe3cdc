"""Record examples/ocfs2-demo on a lab host: `record_opened(host, file_system, kinds, output)`.

Inside the host it is `python -m lab.opened DIRECTORY FILE_SYSTEM KIND...`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from lab.host import Host
from lab.initramfs import REPOSITORY
from lab.session import VIO
from lab.volumes import FileSystem, Stack, volume

DEMO = REPOSITORY / "examples" / "ocfs2-demo" / "run.sh"
KINDS = ("write", "read", "sync", "native", "new")
_LIMIT_S = 900.0  # for each kind, where other work is beside it


def record_opened(
    host: Host, file_system: FileSystem, kinds: Sequence[str], output: Path, *, echo: BinaryIO | None = None
) -> dict[str, Path]:
    """Record the demonstration on a volume of the host's first disk; give the recordings by kind, in `output`.

    Raises:
        LabError: the host is gone, or the demonstration failed; the message says how.
    """
    directory = host.directory / f"opened-{time.monotonic_ns()}"
    directory.mkdir()
    host.run_module("lab.opened", str(directory), file_system, *kinds, timeout_s=_LIMIT_S * len(kinds), echo=echo)
    found = {kind: output / f"{file_system}-{kind}.vio" for kind in kinds}
    output.mkdir(parents=True, exist_ok=True)
    for kind, place in found.items():
        shutil.rmtree(place, ignore_errors=True)
        shutil.move(directory / f"{kind}.vio", place)
    return found


def main(arguments: Sequence[str]) -> int:
    """Make the volume, record each kind there, and leave the recordings in a directory."""
    directory, file_system, *kinds = arguments
    environment = os.environ | {"VIO": " ".join(VIO)}
    with volume(Stack.PLAIN, FileSystem(file_system)) as place:
        for kind in kinds:
            # the shared directory is no place for quick small writes
            local = Path("/tmp") / f"{kind}.vio"
            subprocess.run([str(DEMO), str(place.directory), str(local), kind], env=environment, check=True)
            shutil.copytree(local, Path(directory) / local.name)
            shutil.rmtree(local)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"lab: {error.cmd[0]} ended with exit code {error.returncode}: {(error.stderr or b'').decode()}")
