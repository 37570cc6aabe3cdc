"""What `vio map` answers: the storeys of a guest disk with their totals, and addresses at every one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from vio.errors import MapError, UsageError
from vio.mappers.address import Place, Trail, trace, trace_up
from vio.mappers.chain import survey
from vio.mappers.device.tree import DeviceTree
from vio.mappers.guestfs.content import disk_content
from vio.mappers.guestfs.files import GuestFiles, find_file, read_guest_files
from vio.mappers.guestfs.volumes import find_volumes
from vio.mappers.images import ImageSource, opened_chain
from vio.mappers.kind import Ints
from vio.mappers.level import Level, LevelSort
from vio.mappers.owners import OwnedTrail, in_order, with_files, with_metadata
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
    """Ranges (byte, length) of one space, or a file of the guest; and what is to be told of them.

    `device` chooses the device by name where there are several lowest ones. `with_files` names the guest's file that
    each piece is of, for which its file systems are walked.
    """

    of: From
    ranges: tuple[Range, ...] = ()
    device: str = ""
    guest_file: str = ""
    with_files: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The storeys; and if something was asked, the pieces with the names of their places and owners.

    `volumes` are the guest's own: name, size in bytes, what it holds. `owners` says for each piece whose it is: a table
    of the image, a file of the guest; `owner_offsets` the byte inside that.
    """

    levels: tuple[Level, ...]
    notes: tuple[str, ...]
    maps: MapSet
    volumes: tuple[tuple[str, int, str], ...] = ()
    trail: Trail | None = None
    names: dict[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    owner_offsets: tuple[int, ...] = ()


def answer(
    source: ImageSource, disk: str = "disk0", question: Question | None = None, tree: DeviceTree | None = None
) -> Answer:
    """Survey a guest disk and answer a question about its addresses; without one, only the totals are made.

    Raises:
        MapError: The image cannot be mapped at all.
        UsageError: The question is about a device, snapshot or file that there is not.
    """
    at_ns, guest = time.clock_gettime_ns(time.CLOCK_BOOTTIME), guest_space(disk)
    taken = survey(source, at_ns, disk, tree, is_brief=question is None)
    if not any(level.sort is LevelSort.IMAGE for level in taken.levels):
        raise MapError(taken.notes[0].removeprefix("image: ") if taken.notes else "there is nothing to map")
    levels, notes, maps = tuple(taken.levels), list(taken.notes), MapSet(tuple(taken.maps))
    names = {level.space: level.name for level in levels if level.sort is not LevelSort.IMAGE}
    if question is None:
        volumes = _volumes(source, guest, notes)
        return Answer(levels, tuple(notes), maps, volumes, names=names)
    files = _files(source, guest, question, notes)
    owned = _owned(question, levels, maps, at_ns, guest, files)
    return Answer(levels, tuple(notes), maps, (), owned.trail, names, owned.owners, owned.offsets)


def place_names(trail: Trail, names: dict[str, str]) -> dict[Place, str]:
    """Name the columns of a trail: the file's or device's name, with the number of the copy where there are more."""
    found = {}
    for space, copy in trail.places:
        name = names.get(space, space)
        found[space, copy] = f"{name} (copy {copy + 1})" if copy else name
    return found


def _volumes(source: ImageSource, guest: str, notes: list[str]) -> tuple[tuple[str, int, str], ...]:
    """Look what the guest has on its disk, as far as it can be read."""
    try:
        with opened_chain(source) as chain:
            found, said = find_volumes(disk_content(chain, guest), guest)
    except (MapError, OSError) as error:
        notes.append(f"guest: {error}")
        return ()
    notes += [f"guest: {note}" for note in said]
    return tuple((volume.name, volume.size, volume.holds) for volume in found)


def _files(source: ImageSource, guest: str, question: Question, notes: list[str]) -> GuestFiles | None:
    if not (question.with_files or question.guest_file):
        return None
    with opened_chain(source) as chain:
        files = read_guest_files(chain, guest)
    notes += [f"guest: {note}" for note in files.notes]
    return files


def _owned(
    question: Question, levels: Sequence[Level], maps: MapSet, at_ns: int, guest: str, files: GuestFiles | None
) -> OwnedTrail:
    if question.guest_file and files:
        mine = find_file(files, question.guest_file)
        trail = trace(maps, at_ns, guest, mine.start, mine.length)
        return with_files(OwnedTrail.of(trail), mine)
    space, (offsets, lengths) = guest, _columns(question.ranges)
    if question.of is From.GUEST:
        owned = OwnedTrail.of(trace(maps, at_ns, guest, offsets, lengths))
    else:
        space = _file_of(levels) if question.of is From.FILE else _device_of(levels, question.device)
        found = trace_up(maps, at_ns, guest, space, offsets, lengths)
        owned = with_metadata(OwnedTrail.of(found), space, levels, maps, at_ns)
    return in_order(with_files(owned, files.ranges) if files else owned, space)


def _columns(ranges: Sequence[Range]) -> tuple[Ints, Ints]:
    rows = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _file_of(levels: Sequence[Level]) -> str:
    below = levels[0].below
    if levels[0].sort is not LevelSort.IMAGE or not below:
        raise UsageError("where the image's data lies is not known", "--follow opens what the image names")
    return below[0]


def _device_of(levels: Sequence[Level], name: str) -> str:
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
