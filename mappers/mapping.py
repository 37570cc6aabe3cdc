"""How a device of the mapper or of md maps: the targets of its table, the level of its array."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vio.mappers.device import SECTOR, Device, DeviceKind

_LIMIT_S = 10.0
_PARENT_WORD = {"linear": 3, "delay": 3, "crypt": 6}
"""Targets that map one stretch to one other: where in a line of the table its device and sector stand."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a mapped device that is one stretch of a device below; bytes, and `parent` as `st_rdev` has it."""

    start: int
    length: int
    parent: int
    parent_start: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a device maps: `name` is "linear", "raid1" ...; several targets with "+"; "" where nothing is known."""

    name: str = ""
    stretches: tuple[Stretch, ...] = ()


def mapping_of(device: Device, sys: Path = Path("/sys")) -> Mapping:
    """Say how a device maps; nothing for a device that does not, and where it is hidden.

    The mapper's tables are dmsetup's to tell: /sys has them not.
    """
    if device.kind is DeviceKind.MD:
        return Mapping(_level(sys / "block" / device.name / "md" / "level"))
    return read_table(_table(device)) if device.kind is DeviceKind.DM else Mapping()


def read_table(text: str) -> Mapping:
    """Read dmsetup's lines `START LENGTH TARGET ...`; of a line that makes no sense only the target is taken."""
    lines = [words for line in text.splitlines() if len(words := line.split()) > 2]
    names = dict.fromkeys(words[2] for words in lines)
    stretches = (_stretch(words) for words in lines)
    return Mapping("+".join(names), tuple(one for one in stretches if one))


def _stretch(words: list[str]) -> Stretch | None:
    at = _PARENT_WORD.get(words[2])
    if at is None or len(words) < at + 2:
        return None
    major, _, minor = words[at].partition(":")
    numbers = (words[0], words[1], major, minor, words[at + 1])
    if not all(number.isdecimal() for number in numbers):
        return None
    start, length, *_, parent_start = (int(number) * SECTOR for number in numbers)
    return Stretch(start, length, os.makedev(int(major), int(minor)), parent_start)


def _level(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _table(device: Device) -> str:
    command = ("dmsetup", "table", "--major", str(device.major), "--minor", str(device.minor))
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if ran.returncode else ran.stdout
