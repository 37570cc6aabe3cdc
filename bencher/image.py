"""Put what a run finds into the state that the scenario says, before each run: its image, and the page cache."""

import os
import subprocess
from pathlib import Path

from vio.bencher.scenario import Image, Way
from vio.errors import HostError, OutputError, TargetError
from vio.printable import printable
from vio.quantity import parse_size

_LIMIT_S = 3600
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def put_back(image: Image, source: Path | None, place: Path) -> Path:
    """Make the image of the next run, and have it written out; `place` is a directory, `source` filled and absolute.

    Raises:
        TargetError: qemu-img or cp failed, or is missing.
        OutputError: the place cannot be written.
    """
    if source is not None and image.way is Way.SAME:
        if not source.exists():
            raise TargetError(f"there is no image {printable(str(source))}", "image.source names it")
        return source
    path = place / f"disk.{Way.OVERLAY if source and image.way is Way.OVERLAY else image.format}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        _run(_command(image, source, path))
        _write_out(path)
    except OSError as error:
        raise OutputError(f"{printable(str(path))} cannot be made: {error.strerror}", "see image.place") from None
    return path


def drop_caches() -> None:
    """Drop the page cache of the whole machine.

    Raises:
        HostError: only root may.
    """
    os.sync()
    try:
        _DROP_CACHES.write_text("3\n")
    except OSError as error:
        raise HostError(f"the page cache cannot be dropped: {error.strerror}", "run vio as root") from None


def _command(image: Image, source: Path | None, path: Path) -> list[str]:
    if source is None:
        options = ["-o", image.options] if image.options else []
        return ["qemu-img", "create", "-q", "-f", image.format, *options, str(path), str(parse_size(image.size))]
    if image.way is Way.OVERLAY:
        return ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(source), "-F", image.format, str(path)]
    return ["cp", "--reflink=auto", "--sparse=always", "--", str(source), str(path)]


def _run(words: list[str]) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_LIMIT_S)
    except FileNotFoundError:
        raise TargetError(f"there is no command {words[0]}", "install it: Debian has it in qemu-utils") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"{words[0]} has not made the image in {_LIMIT_S} s", "see the table [image]") from None
    except subprocess.CalledProcessError as error:
        said = printable((error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1])
        raise TargetError(f"the image of the run cannot be made: {said}", "see the table [image]") from None


def _write_out(path: Path) -> None:
    """Have it on the device before the run: else the run would pay for the writing of the copy."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
