"""Directories for a run's images and mounts, named after the process: what a killed one left can be put back."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import initramfs

_KINDS = ("target", "truth")
_OURS = re.compile(rf"/\.cache/lab/(?:{'|'.join(_KINDS)})-(\d+)-")


@contextlib.contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """Give a directory beside the repository's other caches: on its file system, which takes direct IO as a rule."""
    assert kind in _KINDS
    initramfs.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-", dir=initramfs.CACHE) as folder:
        yield Path(folder)


def sweep() -> list[str]:
    """Put back the mounts and loop devices of runs that were killed, of any clone; return what was put back.

    They harm others: on a mount whose server is dead, each program that looks through all mounts fails.
    """
    done = []
    for place in reversed(_mounted()):
        if _is_left_behind(place):
            # lazily: a file system below which the device is gone cannot be written back
            subprocess.run(("umount", "--lazy", place), check=False, capture_output=True, timeout=60)
            done.append(place)
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        if _is_left_behind(file.read_text().strip()):
            device = f"/dev/{file.parent.parent.name}"
            subprocess.run(("losetup", "--detach", device), check=False, capture_output=True, timeout=60)
            done.append(device)
    for kind in _KINDS:
        for folder in initramfs.CACHE.glob(f"{kind}-*"):
            if _is_left_behind(str(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                done.append(str(folder))
    return done


def _mounted() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def _is_left_behind(place: str) -> bool:
    found = _OURS.search(place)
    return found is not None and not Path("/proc", found[1]).exists()
