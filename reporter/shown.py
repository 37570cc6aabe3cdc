"""What the run itself shows of the guest disks' maps: the same request at both levels of QEMU's block layer.

QEMU keeps changed L2 tables in memory: the maps that were taken lack what was allocated since the last flush. Where a
request went says so at once. The layer stands beside the maps that were taken, which keep checking the join.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vio.manifest import DiskInfo, Manifest
from vio.mappers.extent import NOWHERE
from vio.mappers.shown import SCHEMA, ShownMap
from vio.mappers.space import guest_space
from vio.mappers.timed import FOREVER_NS, MapSet, TimedMap
from vio.reporter.followed import FollowedRanges
from vio.reporter.imagefiles import ImageLayer, image_layers
from vio.reporter.join import Joined
from vio.reporter.match import Ints
from vio.reporter.seenplaces import ImageLayout, SeenPlaces, lost_places, seen_places
from vio.reporter.sightings import FURTHEST, GONE, KnownShifts, PastRanges, Ranges

SHOWN_FILE = "shown.parquet"
_LARGEST_CLUSTER = 1 << 21
_NONE = np.empty(0, dtype=np.int64)


@dataclass(slots=True)
class ShownFigures:
    """Of all disks: bytes of guest disk in rows with a place, and in rows that only take one away (each row counts).

    `unflushed_bytes` of those with a place are not in the map of the stop either. `disputed_bytes` were seen at places
    of which it is not certain which is the later one, `forgotten_bytes` were not followed to the end. `left_out` counts
    IOs of which it is not told where they went, by reason.
    """

    placed_bytes: int = 0
    unflushed_bytes: int = 0
    gone_bytes: int = 0
    disputed_bytes: int = 0
    forgotten_bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _File:
    layout: ImageLayout
    followed: FollowedRanges
    last: KnownShifts
    taken_ns: int
    spaces: tuple[str, str]


class ShownPlaces:
    """Follows the disks that are qcow2 images through the windows of a join, in order."""

    def __init__(self, manifest: Manifest, maps: MapSet, tables: Mapping[int, tuple[Ints, Ints]]) -> None:
        """Take what the stored maps say; `tables` are the places of the images' own tables, by descriptor."""
        self.figures = ShownFigures()
        self._disks = [
            [
                _followed(number, disk, file, _taken(maps, disk, file), manifest.clock.start.boottime_ns, tables)
                for file in layers
            ]
            for number, disk in enumerate(manifest.target.disks)
            if (layers := image_layers(disk))
        ]
        self._ready: list[pa.Table] = []

    def add(self, joined: Joined, disk: Ints, *, is_last: bool) -> None:
        """Take the next window; `disk` is that of each of its IOs."""
        for files in self._disks:
            seen = [seen_places(joined, file.layout, self.figures.left_out) for file in files]
            has_call = np.logical_or.reduce([has for _, has in seen])
            for file, (placed, _) in zip(files, seen, strict=True):
                self._follow(file, joined, placed, lost_places(joined, disk, file.layout, has_call), is_last=is_last)

    def take(self) -> pa.Table:
        """Return the rows of vio.mappers.shown.SCHEMA that became whole since the last call."""
        ready, self._ready = self._ready, []
        return pa.concat_tables([SCHEMA.empty_table(), *ready]).unify_dictionaries()

    def _follow(self, file: _File, joined: Joined, placed: SeenPlaces, gone: SeenPlaces, *, is_last: bool) -> None:
        news, ts_ns = file.followed.news(placed, gone), joined.window.events.ts_ns
        past = file.followed.add(Ranges.joined([placed.dated(ts_ns, news), gone.dated(ts_ns)]))
        if is_last:
            past = PastRanges.joined([past, file.followed.finish(file.last, file.taken_ns)])
            self.figures.disputed_bytes += file.followed.disputed_bytes
            self.figures.forgotten_bytes += file.followed.forgotten_bytes
        self._give_out(file, past)

    def _give_out(self, file: _File, past: PastRanges) -> None:
        if not len(past):
            return
        is_placed, length = past.shift != GONE, past.end - past.start
        self.figures.placed_bytes += int(length[is_placed].sum())
        self.figures.unflushed_bytes += int(length[is_placed & (past.to_ns == FOREVER_NS)].sum())
        self.figures.gone_bytes += int(length[~is_placed].sum())
        target = np.where(is_placed, past.start + past.shift, NOWHERE)
        self._ready.append(ShownMap(*file.spaces, past.start, length, target, past.from_ns, past.to_ns).table())


def _taken(maps: MapSet, disk: DiskInfo, file: ImageLayer) -> list[TimedMap]:
    """Return the maps of a disk to a file with its data, in order of time."""
    wanted = (guest_space(disk.name), file.space)
    mine = [one for one in maps if (one.map.source_space, one.map.target_space) == wanted]
    return sorted(mine, key=lambda one: one.valid_from_ns)


def _followed(
    number: int,
    disk: DiskInfo,
    file: ImageLayer,
    taken: list[TimedMap],
    start_ns: int,
    tables: Mapping[int, tuple[Ints, Ints]],
) -> _File:
    layout = ImageLayout(
        number,
        np.array(sorted(file.fds), dtype=np.int64),
        _power_of_two(file.cluster_bytes),
        _power_of_two(file.subcluster_bytes),
        disk.virtual_size_bytes or FURTHEST,
        next((tables[fd] for fd in file.fds if fd in tables), (_NONE, _NONE)),
    )
    first = KnownShifts.of(next((one.map for one in taken if one.valid_from_ns <= start_ns), None))
    last = KnownShifts.of(taken[-1].map if taken else None)
    taken_ns = max((one.valid_from_ns for one in taken if one.valid_from_ns > start_ns), default=FOREVER_NS)
    return _File(layout, FollowedRanges(first), last, taken_ns, (guest_space(disk.name), file.space))


def _power_of_two(size: int) -> int:
    """Return a size that qcow2 can have; 0, as for one that is not known, for any other."""
    return size if 0 < size <= _LARGEST_CLUSTER and size & (size - 1) == 0 else 0
