"""How a device of the mapper or of md maps, in short: the targets of its table, the level of its array."""

from dataclasses import dataclass

import numpy as np

from vio.errors import MapError
from vio.mappers.device.dm import Segment, map_table
from vio.mappers.device.tree import Device, DeviceKind, DeviceTree
from vio.mappers.space import device_of

_ONE_TO_ONE = frozenset({"linear", "delay", "crypt"})
"""Targets that map one stretch to one other."""
_NO_STRIPES = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


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


MULTIPATH = "multipath"


def mapping_of(device: Device, tree: DeviceTree) -> Mapping:
    """Say how a device maps; nothing for a device that does not, and where it is hidden."""
    try:
        if device.kind is DeviceKind.MD:
            return Mapping(tree.level_of(device))
        if device.kind is DeviceKind.NVME and device.parents:
            return Mapping(MULTIPATH)
        return mapping_by(tree.segments_of(device)) if device.kind is DeviceKind.DM else Mapping()
    except MapError:
        return Mapping()


def mapping_by(segments: tuple[Segment, ...]) -> Mapping:
    """Say how a table maps; of a segment whose arguments make no sense only the target is taken."""
    names = dict.fromkeys(segment.target for segment in segments)
    stretches = (_stretch(segment) for segment in segments if segment.target in _ONE_TO_ONE)
    return Mapping("+".join(names), tuple(one for one in stretches if one))


def _stretch(segment: Segment) -> Stretch | None:
    try:
        ((ranges, _),) = map_table("", (segment,), _NO_STRIPES)
    except MapError:
        return None
    parent = device_of(ranges.target_space)
    return None if parent is None else Stretch(segment.start, segment.length, parent, int(ranges.target[0]))
