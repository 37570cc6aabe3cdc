"""How a device of the mapper or of md maps: the targets of its table, the level of its array."""

import subprocess
from pathlib import Path

from vio.mappers.device import Device, DeviceKind

_LIMIT_S = 10.0


def mapping_of(device: Device, sys: Path = Path("/sys")) -> str:
    """Name a device's mapping ("linear", "raid1" ...; several with "+"); "" for other devices, and where it is hidden.

    The mapper's tables are dmsetup's to tell: /sys has them not.
    """
    if device.kind is DeviceKind.MD:
        return _level(sys / "block" / device.name / "md" / "level")
    return _targets(device) if device.kind is DeviceKind.DM else ""


def targets_in(table: str) -> str:
    """Name the targets in dmsetup's lines `START LENGTH TARGET ...`, each once, in order."""
    names = (words[2] for line in table.splitlines() if len(words := line.split()) > 2)
    return "+".join(dict.fromkeys(names))


def _level(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _targets(device: Device) -> str:
    command = ("dmsetup", "table", "--major", str(device.major), "--minor", str(device.minor))
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if ran.returncode else targets_in(ran.stdout)
