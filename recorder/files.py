"""Write the files of a recording so that a reader never sees half of one."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vio.errors import OutputError, RecordingError
from vio.jsondata import to_data
from vio.manifest import Manifest
from vio.manifestfile import read_manifest
from vio.recording import (
    EVENTS_DIRECTORY,
    LOG_FILE,
    LOSSES_FILE,
    MANIFEST,
    MAPS_FILE,
    PENDING_FILE,
    PROGRAM_FILE,
)

_OURS = (MANIFEST, LOSSES_FILE, MAPS_FILE, PENDING_FILE, PROGRAM_FILE, LOG_FILE)
_TEMPORARY = ".tmp"


def make_directory(path: Path, force: bool) -> None:
    """Make the recording's directory; with `force` an older recording in its place is emptied.

    Raises:
        OutputError: something is there already, or it cannot be written.
    """
    with writing(path):
        if path.is_symlink() or (path.exists() and not _is_empty(path)):
            _make_way(path, force)
        (path / EVENTS_DIRECTORY).mkdir(parents=True, exist_ok=True)


def check_directory(path: Path, force: bool) -> None:
    """Say early whether `make_directory` would refuse.

    Raises:
        OutputError: as make_directory.
    """
    with writing(path):
        if path.is_symlink() or (path.exists() and not _is_empty(path)):
            _check_replaceable(path, force)
        existing = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"{existing} is not writable", "choose another place with -o")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written: {reason}", "choose another place with -o") from error


@contextmanager
def replacing(path: Path, is_durable: bool) -> Iterator[Path]:
    """Give a temporary name to write to, that becomes `path` when all went well.

    `is_durable`: on disk before it has its name. Without it a crash of the machine (not of vio) may leave it empty.
    """
    temporary = path.with_name(path.name + _TEMPORARY)
    with writing(path):
        try:
            yield temporary
            if is_durable:
                _sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_manifest(directory: Path, manifest: Manifest, is_durable: bool) -> None:
    """Replace manifest.json."""
    with replacing(directory / MANIFEST, is_durable) as temporary:
        text = json.dumps(to_data(manifest), indent=1, ensure_ascii=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path, table: pa.Table, is_durable: bool = True) -> None:
    """Write a small table, replacing an older one."""
    with replacing(path, is_durable) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=1)


def append_log(path: Path, lines: Sequence[str]) -> None:
    """Add lines to the log."""
    if not lines:
        return
    with writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.writelines(f"{line}\n" for line in lines)


def remove_directory(path: Path) -> None:
    """Take away a recording that never began: our files, and the directory if nothing else is in it."""
    with contextlib.suppress(OSError):
        _clear(path)
        (path / EVENTS_DIRECTORY).rmdir()
        path.rmdir()


def _make_way(path: Path, force: bool) -> None:
    _check_replaceable(path, force)
    _clear(path)


def _clear(path: Path) -> None:
    for name in _OURS:
        (path / name).unlink(missing_ok=True)
        (path / (name + _TEMPORARY)).unlink(missing_ok=True)
    for file in (path / EVENTS_DIRECTORY).glob("*.parquet*"):
        file.unlink()


def _check_replaceable(path: Path, force: bool) -> None:
    if path.is_symlink() or not path.is_dir():
        raise OutputError(f"{path} exists and is no recording", "choose another place with -o")
    if not force:
        raise OutputError(f"{path} exists", "give --force to overwrite a recording, or choose another place with -o")
    try:
        read_manifest(path)
    except RecordingError as error:
        raise OutputError(
            f"{path} exists and is no recording that could be overwritten ({error.message})",
            "choose another place with -o",
        ) from None


def _is_empty(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
