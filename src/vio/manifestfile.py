"""Read manifest.json, and know a recording's files by it: without Arrow, which takes long to import."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from vio.errors import RecordingError
from vio.jsondata import from_data
from vio.manifest import Manifest
from vio.terms import MAJOR, MINOR

MANIFEST = "manifest.json"
EVENTS_DIRECTORY = "events"
LOSSES_FILE = "losses.parquet"
IOS_FILE = "ios.parquet"  # made by the report
MAPS_FILE = "maps.parquet"
PENDING_FILE = "pending.parquet"
LONGEST_NS = 2**52  # of a recording: 52 days
LAST_NS = 2**61  # of any clock: sums and differences of times fit into 64 bits


def fingerprint(path: Path, event_files: Sequence[Path]) -> str:
    """Return what changes when a file that a report reads does: the manifest, or the size of another."""
    files = [*event_files, *(path / name for name in (LOSSES_FILE, MAPS_FILE, PENDING_FILE))]
    sizes = [(file.name, file.stat().st_size) for file in files if file.exists()]
    return hashlib.sha256((path / MANIFEST).read_bytes() + repr(sizes).encode()).hexdigest()[:32]


def event_files(path: Path) -> list[Path]:
    """Return the files of events that are there, in the order of a fingerprint; a damaged one is among them."""
    folder = path / EVENTS_DIRECTORY
    return [file for sort in ("segment", "late") for file in sorted(folder.glob(f"{sort}-*.parquet"))]


def read_manifest(path: Path) -> Manifest:
    """Read and check manifest.json of a recording.

    Raises:
        RecordingError: there is none, it cannot be believed, or it is of a newer version.
    """
    file = path / MANIFEST
    try:
        if not path.exists():
            raise RecordingError(f"there is no recording {path}", "make one with `vio record`")
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(
            f"{path} is not a recording: it has no {MANIFEST}", "give the directory that `vio record` made"
        ) from None
    except NotADirectoryError:
        raise RecordingError(
            f"{path} is not a recording: it is no directory", "give the directory that `vio record` made"
        ) from None
    except OSError as error:
        raise RecordingError(f"{file} cannot be read: {error.strerror}", "check its permissions") from None
    except ValueError as error:
        raise RecordingError(
            f"{file} is damaged: {error}", "restore it from a copy; the events beside it are whole"
        ) from None
    except RecursionError:
        raise RecordingError(f"{file} is damaged: it is nested too deeply", "is this a recording of vio?") from None
    _check_version(file, data)
    manifest = from_data(Manifest, data, str(file))
    _check_values(file, manifest)
    return manifest


def _check_version(file: Path, data: object) -> None:
    version = data.get("schema") if isinstance(data, dict) else None
    major = version.get("major") if isinstance(version, dict) else None
    if not isinstance(major, int) or not isinstance(version, dict):
        raise RecordingError(f"{file} is damaged: it names no schema version", "is this a recording of vio?")
    if major != MAJOR:
        todo = "upgrade vio" if major > MAJOR else "use the vio that made it"
        raise RecordingError(
            f"{file} is a recording of schema {major}.{version.get('minor', '?')}, "
            f"this vio reads {MAJOR}.0 to {MAJOR}.{MINOR}",
            todo,
        )


def _check_values(file: Path, manifest: Manifest) -> None:
    """Refuse what no recorder writes and no reader could use."""
    numbers = [point.number for point in manifest.points]
    if len(set(numbers)) < len(numbers) or not all(0 < number < 256 for number in numbers):
        raise RecordingError(f"{file} is damaged: points are numbered from 1 to 255, each once")
    clock = manifest.clock
    moments = [clock.start, *([clock.stop] if clock.stop else [])]
    if not all(0 <= time_ns < LAST_NS for one in moments for time_ns in (one.boottime_ns, one.wall_ns)):
        raise RecordingError(f"{file} is damaged: its clock shows a time that cannot be")
    if clock.stop and abs(clock.stop.boottime_ns - clock.start.boottime_ns) > LONGEST_NS:
        raise RecordingError(f"{file} is damaged: by its clock it took more than 52 days")
    numbers = [one.kernel_dev for one in manifest.devices] + [one.kernel_dev for one in manifest.files]
    if not all(-1 <= number < 2**32 for number in numbers):
        raise RecordingError(f"{file} is damaged: a device's number is more than 32 bits")
