"""Drive the join over a recording: windows of events in, tables of IOs out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vio.manifest import DiskInfo, Manifest, PointInfo
from vio.mappers.space import guest_space
from vio.mappers.timed import MapSet
from vio.recording import PIECE, Recording
from vio.reporter.ahead import ahead
from vio.reporter.busy import Busy
from vio.reporter.events import Events
from vio.reporter.evidence import DiskMaps, Targets, count_evidence
from vio.reporter.fanout import Fanout, fanout_of
from vio.reporter.held import ImagePlaces
from vio.reporter.imagefiles import ImageFiles, data_descriptors, data_space, is_direct
from vio.reporter.iotable import IoTable
from vio.reporter.join import Joined, Joiner, Linked
from vio.reporter.laterbios import WRITEBACKS_SCHEMA
from vio.reporter.match import NONE, Ints
from vio.reporter.moves import Moves
from vio.reporter.ofwhich import Purposes
from vio.reporter.parts import PartsReader
from vio.reporter.paths import Loop, Scope
from vio.reporter.places import kernel_dev
from vio.reporter.quality import JoinQuality
from vio.reporter.shown import ShownPlaces
from vio.reporter.steps import below_of
from vio.reporter.storedmaps import stored_maps
from vio.reporter.waits import WaitReader, Waits
from vio.reporter.writeback import CachedDisks, Writeback
from vio.schema import EVENTS, STAGES, arrow_schema

WINDOW = 1 << 20  # events joined at once: memory grows with it, and the overhead of a window shrinks
_AHEAD = 3 << 17  # events read at once where threads hand windows on to each other: the fewer, the less they wait
Renumbering = npt.NDArray[np.uint8]
_NEVER_NS = (1 << 63) - 2


@dataclass(slots=True)
class Join:
    """The join of a recording: iterate `tables()` once; `quality` and `writeback` are complete after that.

    `writeback` is None where no disk goes through the page cache. `shown` is what the run shows of the disks' maps.
    Without `with_figures` there are only tables: `quality` counts nothing, and `fanout` is None. With `is_ahead` the
    windows are made ahead of their use, in threads: sooner, with more of them in memory.

    With `parts`, `stages` has those of the last table's IOs (schema.STAGES). `waits` are those of the last table's IOs,
    None where the scheduler was not recorded, `fanout` is what became of them below, `joined` the window that they came
    from.
    """

    recording: Recording
    quality: JoinQuality = field(default_factory=JoinQuality)
    writeback: Writeback | None = None
    shown: ShownPlaces | None = None
    parts: PartsReader | None = None
    with_figures: bool = True
    is_ahead: bool = True
    stages: pa.Table | None = None
    waits: Waits | None = None
    fanout: Fanout | None = None
    joined: Joined | None = None
    _reader: WaitReader | None = None

    @property
    def busy(self) -> Busy | None:
        """For how long threads ran; complete after `tables()`, None where the scheduler was not recorded."""
        return self._reader.busy if self._reader else None

    def tables(self) -> Iterator[pa.Table]:
        """Yield tables of schema.IOS, in the order of the windows in which the IOs ended."""
        for table, joined in self.windows():
            self.joined = joined
            if table.num_rows or (self.stages is not None and self.stages.num_rows):
                yield table

    def windows(self) -> Iterator[tuple[pa.Table, Joined]]:
        """Yield each window's table with the joined window that it came from."""
        manifest = self.recording.manifest
        maps = stored_maps(self.recording)
        numbers, renumbered = point_numbers(manifest.points)
        joiner = Joiner(numbers, _scope(manifest, maps))
        files = ImageFiles.of(manifest)
        purposes = Purposes.of(manifest, maps, files)
        is_direct_io = tuple(is_direct(disk) for disk in manifest.target.disks)
        table = IoTable(files.disks, len(manifest.target.disks), is_direct_io, purposes)
        self.shown = ShownPlaces(manifest, maps, purposes.tables)
        cached = _cached_disks(manifest)
        self.writeback = Writeback(maps, cached) if cached.numbers else None
        disk_maps = tuple(_disk_maps(maps, disk, files) for disk in manifest.target.disks)
        self._reader = WaitReader.of(manifest, self.recording.read_losses())
        step, most = (ahead, _AHEAD) if self.is_ahead else (iter, PIECE)
        linked = step(self._linked(joiner, step(_windows(self.recording, renumbered, most))))
        for one in step(self._joined(linked)):
            yield self._one(one, table, disk_maps)

    def _linked(self, joiner: Joiner, windows: Iterator[Events]) -> "Iterator[_LinkedWindow]":
        """Yield the linked windows, each with the threads' moves up to the end of the next one."""
        pending, moves = Events.empty(), list[Moves]()
        for number, every in enumerate(windows):
            events = every
            if self._reader:
                events, moved = self._reader.split(every)
                moves.append(moved)
            if number:
                yield _LinkedWindow(joiner.link(pending), moves)
                moves = []
            pending = events
        yield _LinkedWindow(joiner.link(pending, is_last=True), moves, is_last=True)

    def _joined(self, windows: "Iterator[_LinkedWindow]") -> "Iterator[_JoinedWindow]":
        for one in windows:
            joined = Joined.of(one.linked)
            waits = self._reader.add(joined, one.moves) if self._reader else None
            yield _JoinedWindow(joined, waits, one.is_last)

    def _one(self, one: "_JoinedWindow", table: IoTable, maps: tuple[DiskMaps, ...]) -> tuple[pa.Table, Joined]:
        joined, is_last = one.joined, one.is_last
        disk = table.disks(joined)
        if self.with_figures:
            count_evidence(self.quality, joined, disk, maps)
            self.fanout = fanout_of(joined)
        self.waits = one.waits
        rows = table.rows(joined, self.waits)
        if self.shown is not None:
            self.shown.add(joined, disk, is_last=is_last)
        if self.writeback is not None:
            self.writeback.add(joined, _numbers(joined, rows), disk, is_last=is_last)
        if self.parts:
            self.stages = self.parts.add(joined, rows, is_last=is_last)
            self.quality.orphans.update(self.parts.take_orphans())
        return rows, joined


@dataclass(frozen=True, slots=True)
class _LinkedWindow:
    """A window that was linked, and the threads' moves that are new since the last."""

    linked: Linked
    moves: list[Moves]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class _JoinedWindow:
    """The same, joined, with the waits of the IOs that are done in it."""

    joined: Joined
    waits: Waits | None
    is_last: bool = False


def _numbers(joined: Joined, rows: pa.Table) -> Ints:
    """Return the numbers of a window's IOs, -1 where one is not done."""
    number = np.full(joined.is_done.size, NONE)
    number[joined.is_done] = rows["io"].to_numpy()
    return number


def _cached_disks(manifest: Manifest) -> CachedDisks:
    disks = manifest.target.disks
    descriptors = {fd: number for number, disk in enumerate(disks) for fd in data_descriptors(disk)}
    return CachedDisks(tuple("" if is_direct(disk) else data_space(disk) for disk in disks), descriptors)


def point_numbers(points: Sequence[PointInfo]) -> tuple[dict[str, int], Renumbering]:
    """Return the points' numbers by name, and for each number the one that the join is to read (`same_as`)."""
    numbers = {point.name: point.number for point in points}
    renumbered = np.arange(256, dtype=np.uint8)
    for point in points:
        if point.same_as:
            renumbered[point.number] = numbers.setdefault(point.same_as, point.number)
    return numbers, renumbered


def _windows(recording: Recording, renumbered: Renumbering, most: int) -> Iterator[Events]:
    clock = recording.manifest.clock
    from_ns, until_ns = clock.start.boottime_ns, clock.stop.boottime_ns if clock.stop else _NEVER_NS
    for every in recording.tables(most=most):
        # Before and after, some probes are there and some are not: IOs would seem to lack layers.
        first, last = np.searchsorted(every["ts_ns"].to_numpy(), (from_ns, until_ns + 1))
        table = every.slice(first, last - first)
        for start in range(0, table.num_rows, WINDOW):
            part = table.slice(start, WINDOW)
            columns = {column.name: part[column.name].to_numpy() for column in EVENTS}
            yield Events(**columns | {"point": np.take(renumbered, columns["point"])})


def _scope(manifest: Manifest, maps: MapSet) -> Scope:
    by_space = {file.space: (file.kernel_dev, file.inode) for file in manifest.files}
    files = ImageFiles.of(manifest)
    loops = []
    for one in maps.maps:
        file = by_space.get(one.map.target_space)
        device = kernel_dev(one.map.source_space)
        if file is not None and device is not None and len(one.map):
            loops.append(Loop(device, file, int(one.map.target[0] - one.map.start[0])))
    places = ImagePlaces(maps, by_space)
    return Scope(files.images, tuple(dict.fromkeys(loops)), files.files, below_of(manifest.devices), places)


def _disk_maps(maps: MapSet, disk: DiskInfo, files: ImageFiles) -> DiskMaps:
    space, descriptors = data_space(disk), data_descriptors(disk)
    to_file = [
        Targets.of(one.map)
        for one in maps.maps
        if one.map.target_space == space and one.map.source_space == guest_space(disk.name)
    ]
    to_device: dict[int, tuple[Targets, ...]] = {}
    for one in maps.maps:
        device = kernel_dev(one.map.target_space)
        if one.map.source_space == space and device is not None:
            to_device[device] = (*to_device.get(device, ()), Targets.of(one.map))
    file = next((files.files[fd] for fd in descriptors if fd in files.files), None)
    return DiskMaps(tuple(to_file), to_device, descriptors, file)


@dataclass(slots=True)
class FoundIo:
    """The row of one IO, the window that it ended in, its position there, its rows of STAGES and of WRITEBACKS.

    `waits` are its own, if the scheduler was recorded.
    """

    row: pa.Table
    joined: Joined
    position: int
    stages: pa.Table
    later: pa.Table = field(default_factory=WRITEBACKS_SCHEMA.empty_table)
    waits: Waits | None = None


def find_io(recording: Recording, number: int, parts: PartsReader) -> FoundIo | None:
    """Find one IO, and what of it was written back, up to the end of the recording; None if there is no such IO."""
    join, found = Join(recording, parts=parts), None
    for table, joined in join.windows():
        at = np.flatnonzero(table["io"].to_numpy() == number)
        if at.size:
            done = np.flatnonzero(joined.is_done)
            stages = join.stages if join.stages is not None else arrow_schema(STAGES).empty_table()
            mine = stages.filter(pc.equal(stages["io"], number))
            waits = join.waits.take(at[:1]) if join.waits else None
            found = FoundIo(table.slice(int(at[0]), 1), joined, int(done[at[0]]), mine, waits=waits)
        if join.writeback is not None:
            rows = join.writeback.take()
            mine = rows.filter(pc.equal(rows["io"], number))
            found = replace(found, later=pa.concat_tables([found.later, mine])) if found and mine.num_rows else found
        if found and (join.writeback is None or join.writeback.is_settled(number)):
            break
    return found
