"""What `vio map` answers: the storeys of a guest disk with their totals, and addresses at every one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from vio.errors import MapError, UsageError
from vio.mappers.address import Place, Trail, trace, trace_up
from vio.mappers.chain import survey
from vio.mappers.device.tree import DeviceTree
from vio.mappers.images import ImageSource
from vio.mappers.level import Level, LevelSort
from vio.mappers.owners import OwnedTrail, in_order, with_metadata
from vio.mappers.space import guest_space
from vio.mappers.timed import MapSet
from vio.printable import printable

Range = tuple[int, int]


class From(StrEnum):
    """Where the addresses of a question are."""

    GUEST = "guest"
    FILE = "file"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Question:
    """Ranges (byte, length) of one space; `device` chooses it by name where there are several lowest ones."""

    of: From
    ranges: tuple[Range, ...]
    device: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The storeys; and if something was asked, the pieces with the names of their places and owners.

    `owners` says for each piece whose it is besides the guest's data: a table of the image, a file of the guest.
    """

    levels: tuple[Level, ...]
    notes: tuple[str, ...]
    maps: MapSet
    trail: Trail | None = None
    names: dict[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()


def answer(
    source: ImageSource, disk: str = "disk0", question: Question | None = None, tree: DeviceTree | None = None
) -> Answer:
    """Survey a guest disk and answer a question about its addresses; without one, only the totals are made.

    Raises:
        MapError: The image cannot be mapped at all.
        UsageError: The question is about a device or snapshot that there is not.
    """
    at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    taken = survey(source, at_ns, disk, tree, is_brief=question is None)
    if not taken.levels:
        raise MapError(taken.notes[0].removeprefix("image: ") if taken.notes else "there is nothing to map")
    maps = MapSet(tuple(taken.maps))
    names = {level.space: level.name for level in taken.levels if level.sort is not LevelSort.IMAGE}
    if question is None:
        return Answer(tuple(taken.levels), tuple(taken.notes), maps, names=names)
    offsets, lengths = _columns(question.ranges)
    if question.of is From.GUEST:
        space = guest_space(disk)
        owned = OwnedTrail.of(trace(maps, at_ns, space, offsets, lengths))
    else:
        is_file = question.of is From.FILE
        space = _file_of(taken.levels) if is_file else _device_of(taken.levels, question.device)
        found = trace_up(maps, at_ns, guest_space(disk), space, offsets, lengths)
        owned = with_metadata(OwnedTrail.of(found), space, taken.levels, maps, at_ns)
    owned = in_order(owned, space)
    return Answer(tuple(taken.levels), tuple(taken.notes), maps, owned.trail, names, owned.owners)


def place_names(trail: Trail, names: dict[str, str]) -> dict[Place, str]:
    """Name the columns of a trail: the file's or device's name, with the number of the copy where there are more."""
    found = {}
    for space, copy in trail.places:
        name = names.get(space, space)
        found[space, copy] = f"{name} (copy {copy + 1})" if copy else name
    return found


def _columns(ranges: Sequence[Range]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rows = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _file_of(levels: list[Level]) -> str:
    below = levels[0].below
    if levels[0].sort is not LevelSort.IMAGE or not below:
        raise UsageError("where the image's data lies is not known", "a data file has to be given")
    return below[0]


def _device_of(levels: list[Level], name: str) -> str:
    devices = [level for level in levels if level.sort is LevelSort.DEVICE]
    if name:
        chosen = [level for level in devices if name in (level.name, level.name.removeprefix("/dev/"), level.space)]
    else:
        chosen = [level for level in devices if not level.below]
    if len(chosen) == 1:
        return chosen[0].space
    known = ", ".join(level.name for level in devices) or "none"
    if name:
        raise UsageError(f"the disk does not lie on a device {printable(name)}", f"its devices: {known}")
    raise UsageError("it is not clear which device is meant", f"--device NAME chooses one of: {known}")
