"""From a range of a host device back to the image file that lies there: the recording's maps, turned round."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from vio.errors import MapError
from vio.mappers.compose import compose
from vio.mappers.extent import RangeMap
from vio.mappers.interval import cut, runs
from vio.mappers.kind import Flag, Kind, base_of
from vio.mappers.space import device_of
from vio.mappers.timed import MapSet
from vio.reporter.match import Ints

NO_IMAGE, DISAGREE = -1, -2
_WHOLE = 1 << 60  # bytes, more than any device has


@dataclass(frozen=True, slots=True)
class Found:
    """Device ranges cut into pieces: the request each is of, its range on the device, and the image and place there.

    `image` is NO_IMAGE where no map gives the range to one, DISAGREE where the maps of the start and of the stop give
    it to different places.
    """

    request: Ints
    start: Ints
    end: Ints
    image: Ints
    offset: Ints

    def of_requests(self, number: Ints) -> "Found":
        """Number the requests otherwise: request i is `number[i]`."""
        return replace(self, request=number[self.request])

    @classmethod
    def joined(cls, parts: list["Found"]) -> "Found":
        """Return the pieces of several."""
        none = np.empty(0, dtype=np.int64)
        every = [cls(none, none, none, none, none), *parts]
        return cls(*(np.concatenate([getattr(part, f.name) for part in every]) for f in fields(cls)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sorted disjoint ranges of one device: which image, and how far its address there is from the device's."""

    start: Ints
    end: Ints
    image: Ints
    shift: Ints


class Places:
    """Where images lie on the devices that are directly below them; loop devices are not looked through.

    The extents of what is written during a recording may not exist at its start, and may be others at its stop: either
    map may tell. Where both do and differ, nothing is said.
    """

    def __init__(self, rows: dict[int, _Rows]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, maps: MapSet, images: Sequence[str]) -> "Places":
        """Read the maps of images, which are numbered in the order of these address spaces; "" is none."""
        parts: dict[int, list[tuple[int, RangeMap]]] = {}
        for number, space in enumerate(images):
            for one in _maps_to_devices(maps, space):
                device = kernel_dev(one.target_space)
                if device is not None:
                    parts.setdefault(device, []).append((number, one))
        return cls({device: _turned(some) for device, some in parts.items()})

    @property
    def devices(self) -> list[int]:
        """The devices that images lie on, as events have them."""
        return list(self._rows)

    @property
    def images(self) -> list[int]:
        """The numbers of the images of which any place is known."""
        known = {int(one) for rows in self._rows.values() for one in np.unique(rows.image)}
        return sorted(known - {NO_IMAGE, DISAGREE})

    def find(self, device: int, start: Ints, end: Ints) -> Found:
        """Look up ranges (bytes) of a device."""
        rows = self._rows[device]
        cuts = cut(rows.start, rows.end, start, end)
        # of a file whose extents are all still to be allocated there is no row to take
        inside = np.flatnonzero(cuts.row >= 0)
        row = cuts.row[inside]
        image, offset = np.full(cuts.row.size, NO_IMAGE), np.zeros(cuts.row.size, dtype=np.int64)
        image[inside] = rows.image[row]
        offset[inside] = np.where(rows.image[row] >= 0, cuts.begin[inside] + rows.shift[row], 0)
        return Found(cuts.request, cuts.begin, cuts.end, image, offset)


def kernel_dev(space: str) -> int | None:
    """Return the number that events have for a device space; None for a space of another sort."""
    device = device_of(space)
    return None if device is None else os.major(device) << 20 | os.minor(device)


def _maps_to_devices(maps: MapSet, space: str) -> Iterator[RangeMap]:
    """Compose an image's maps down through devices, as a partition and its disk, at each time that maps were taken."""
    for at_ns in sorted({timed.valid_from_ns for timed in maps} or {0}):
        whole = RangeMap.of(space, space, 0, _WHOLE, 0)
        waiting = [whole] if device_of(space) is not None else maps.at(space, at_ns)
        seen = {space}
        while waiting:
            upper = waiting.pop()
            if device_of(upper.target_space) is None or (upper.target_space in seen and upper is not whole):
                continue
            seen.add(upper.target_space)
            yield upper
            waiting += [_composed(upper, lower) for lower in maps.at(upper.target_space, at_ns)]


def _composed(upper: RangeMap, lower: RangeMap) -> RangeMap:
    try:
        return compose(upper, lower)
    except MapError:  # addresses that cannot be: such a map tells nothing
        return RangeMap.of(upper.source_space, lower.target_space, [], [], [])


def _turned(parts: list[tuple[int, RangeMap]]) -> _Rows:
    """Turn maps to one device round, and lay them over each other."""
    kept = [(number, one, _usable(one)) for number, one in parts]
    start = np.concatenate([one.target[which] for _, one, which in kept])
    length = np.concatenate([one.length[which] for _, one, which in kept])
    shift = np.concatenate([one.start[which] - one.target[which] for _, one, which in kept])
    image = np.concatenate([np.full(which.size, number) for number, _, which in kept])
    if not start.size:
        return _Rows(start, start, image, shift)
    edges = np.unique(np.concatenate([start, start + length]))
    first = np.searchsorted(edges, start)
    count = np.searchsorted(edges, start + length) - first
    row = np.repeat(np.arange(start.size), count)
    segment = np.arange(row.size) - np.repeat(np.cumsum(count) - count - first, count)
    order = np.argsort(segment, kind="stable")
    segment, row = segment[order], row[order]
    begins = np.flatnonzero(np.append(True, segment[1:] != segment[:-1]))
    agrees = np.ones(begins.size, dtype=np.bool_)
    for column in (image[row], shift[row]):
        agrees &= np.minimum.reduceat(column, begins) == np.maximum.reduceat(column, begins)
    segment, row = segment[begins], row[begins]
    return _joined(edges[segment], edges[segment + 1], np.where(agrees, image[row], DISAGREE), shift[row])


def _usable(one: RangeMap) -> Ints:
    """Return the rows that a bio's address can be taken back through: linear, and of this file alone."""
    is_shared = (one.kind & np.uint8(Flag.SHARED)) != 0  # a write goes elsewhere: such an address has other owners
    return np.flatnonzero((one.target >= 0) & (base_of(one.kind) == Kind.MAPPED) & ~is_shared)


def _joined(start: Ints, end: Ints, image: Ints, shift: Ints) -> _Rows:
    breaks = (start[1:] != end[:-1]) | (image[1:] != image[:-1]) | (shift[1:] != shift[:-1])
    first, last = runs(breaks, start.size)
    return _Rows(start[first], end[last], image[first], shift[first])
