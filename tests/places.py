"""Where each sector of a guest's disk is in an image's file: by qemu-img, and by vio's maps."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from lab.unflushed import SIZE_BYTES, Place

from vio.mappers.kind import Kind, base_of
from vio.mappers.timed import MapSet
from vio.recording import Recording
from vio.reporter.storedmaps import stored_maps

UNIT = 512
Ints = npt.NDArray[np.int64]


def by_unit(places: list[Place]) -> Ints:
    """Where each sector of the guest's disk is by qemu-img; -1: nowhere."""
    found = np.full(SIZE_BYTES // UNIT, -1)
    for start, length, offset in places:
        units = np.arange(start // UNIT, (start + length) // UNIT)
        found[units] = offset + (units * UNIT - start)
    return found


def by_maps(maps: MapSet, at_ns: int, path: Path, space: str = "") -> tuple[Ints, Ints]:
    """Where each sector of the first disk is by the maps, in its image or another `space`, and of which kind."""
    disk = Recording.open(path).manifest.target.disks[0]
    found = maps.at(f"guest:{disk.name}", at_ns)
    ranges = next(one for one in found if one.target_space == (space or disk.space))
    target, kind = ranges.locate(np.arange(0, SIZE_BYTES, UNIT))
    return np.where(base_of(kind) == Kind.MAPPED, target, -1), base_of(kind).astype(np.int64)


def at_stop(path: Path) -> int:
    """When the last maps were taken, or the recording's last moment."""
    recording = Recording.open(path)
    stop = recording.manifest.clock.stop
    return max(stop.boottime_ns if stop else 0, *(one.valid_from_ns for one in stored_maps(recording)))
