"""Which recordings a side's path stands for; quick to import, for what has to begin early."""

from pathlib import Path

from vio.errors import RecordingError
from vio.manifestfile import MANIFEST

RECORDING_SUFFIX = ".vio"
BASELINE_SUFFIX = ".viobase"


def is_baseline(path: Path) -> bool:
    """Tell whether a path is a saved baseline."""
    return path.is_file() and path.name.endswith(BASELINE_SUFFIX)


def recordings_in(path: Path) -> list[Path]:
    """Return the recordings of one side; none of a baseline.

    Raises:
        RecordingError: a directory holds neither a recording nor recordings.
    """
    return [] if is_baseline(path) else repeats_in(path) or [path]


def repeats_in(path: Path) -> list[Path]:
    """Return the recordings in a directory, in order; none if it is a recording itself, or no directory.

    Raises:
        RecordingError: a directory holds neither a recording nor recordings.
    """
    if not path.is_dir() or (path / MANIFEST).exists():
        return []
    found = sorted(one for one in path.iterdir() if one.name.endswith(RECORDING_SUFFIX) and one.is_dir())
    if not found:
        raise RecordingError(
            f"{path} has no recording in it", f"give a recording, a directory of NAME{RECORDING_SUFFIX}, or a baseline"
        )
    return found
