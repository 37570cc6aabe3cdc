"""Small files of /sys: a text, a number, a device number."""

import os
from pathlib import Path

from vio.errors import MapError


def read_dev(path: Path) -> int:
    """Read the device number of the device at `path`, a directory of /sys."""
    text = read_text(path / "dev")
    major, _, minor = text.partition(":")
    if not (major.isdecimal() and minor.isdecimal()):
        raise MapError(f"{path}/dev: {text!r} is no device number")
    return os.makedev(int(major), int(minor))


def read_number(path: Path) -> int:
    """Read a file that holds a number."""
    text = read_text(path)
    if not text.isdecimal():
        raise MapError(f"{path}: {text!r} is no number")
    return int(text)


def read_text(path: Path) -> str:
    """Read a file's text, without the end of its line."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise MapError(f"{path}: {error.strerror}") from error
