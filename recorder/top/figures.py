"""From two snapshots to figures: rates, percentiles, and the share of the time that each layer has for itself. Pure.

The time that IOs spent at a level in the interval is that of those that ended, plus the age of those still there at its
end, less the age of those there at its begin: so an IO that hangs counts all the while. A level's own time is that less
the level's below it. The levels are counted apart, so this is a difference of sums: what goes on below without an IO
above waiting for it (writeback, other users of the device) makes the own time smaller than it is, never below 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vio.layer import Layer, Op
from vio.recorder.top.bucket import longest_ns, percentile_ns
from vio.recorder.top.naming import Names, Place
from vio.recorder.top.slot import Level, Slot, read_slot
from vio.recorder.top.snapshot import Snapshot

PERCENTILES = (0.5, 0.95, 0.99)
_LAYERS = {
    Level.QEMU_DEVICE: Layer.QEMU_DEVICE,
    Level.QEMU_BLOCK: Layer.QEMU_BLOCK,
    Level.QEMU_AIO: Layer.QEMU_AIO,
    Level.BLOCK: Layer.BLOCK,
    Level.DEVICE: Layer.DEVICE,
}
_AIO_STEP = 1 << 13


@dataclass(frozen=True, slots=True)
class Sums:
    """What one slot has in an interval: `times` are the IOs by bucket, `spent_ns` the time of all IOs there."""

    times: dict[int, int] = field(default_factory=dict)
    bytes: int = 0
    total_ns: int = 0
    spent_ns: int = 0
    in_flight: int = 0
    oldest_ns: int = 0

    @property
    def ios(self) -> int:
        """IOs that ended."""
        return sum(self.times.values())

    def plus(self, other: "Sums") -> "Sums":
        """Return both together."""
        times = {key: self.times.get(key, 0) + other.times.get(key, 0) for key in self.times.keys() | other.times.keys()}
        return Sums(
            times,
            self.bytes + other.bytes,
            self.total_ns + other.total_ns,
            self.spent_ns + other.spent_ns,
            self.in_flight + other.in_flight,
            max(self.oldest_ns, other.oldest_ns),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One operation at one level; `share` is of the disk's time, of all operations, None where it cannot be said."""

    place: Place
    layer: Layer
    op: Op
    sums: Sums
    seconds: float
    share: float | None = None

    @property
    def iops(self) -> float:
        """IOs that ended, per second."""
        return self.sums.ios / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes of those."""
        return self.sums.bytes / self.seconds

    @property
    def mean_ns(self) -> float | None:
        """The mean of their times; exact."""
        return self.sums.total_ns / self.sums.ios if self.sums.ios else None

    def percentiles_ns(self) -> tuple[float | None, ...]:
        """Return PERCENTILES of their times."""
        return tuple(percentile_ns(self.sums.times, share) for share in PERCENTILES)

    @property
    def longest_ns(self) -> int | None:
        """The end of the highest bucket: the longest time is at most this, and 1/16 less at least."""
        return longest_ns(self.sums.times)


@dataclass(frozen=True, slots=True)
class Frame:
    """The figures of one interval that ends at `time_ns`; `unplaced` IOs of this interval could not be told whose."""

    time_ns: int
    seconds: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def frame(before: Snapshot, now: Snapshot, names: Names) -> Frame:
    """Return the figures between two snapshots."""
    sums = _sums(before, now)
    places = names.places(now, sums)
    seconds = max(now.time_ns - before.time_ns, 1) / 1e9
    together: dict[tuple[Place, Op], Sums] = {}
    for slot, one in sums.items():
        if slot in places:
            key = (places[slot], slot.op)
            together[key] = together.get(key, Sums()).plus(one)
    rows = [
        Row(place, _LAYERS[place.level], op, one, seconds)
        for (place, op), one in sorted(together.items(), key=lambda item: (item[0][0], list(Op).index(item[0][1])))
    ]
    return Frame(now.time_ns, seconds, tuple(with_shares(rows)))


def with_shares(rows: Iterable[Row]) -> list[Row]:
    """Give each row its level's own share of its disk's time."""
    rows = list(rows)
    spent: dict[tuple[str, ...], dict[tuple[Level, int], float]] = {}
    for row in rows:
        steps = spent.setdefault(row.place.disks, {})
        step = _step(row.place)
        steps[step] = steps.get(step, 0) + row.sums.spent_ns
    shares: dict[tuple[tuple[str, ...], tuple[Level, int]], float] = {}
    for disks, steps in spent.items():
        if len(disks) > 1:
            continue  # a device of several disks: whose its time is, the counts do not tell
        ordered = sorted(steps)
        whole = max(steps[ordered[0]], 1)
        for step, below in zip(ordered, [*ordered[1:], None], strict=True):
            own = steps[step] - (steps[below] if below else 0)
            shares[disks, step] = min(max(own / whole, 0.0), 1.0)
    return [replace(row, share=shares.get((row.place.disks, _step(row.place)))) for row in rows]


def _step(place: Place) -> tuple[Level, int]:
    # a loop device's requests lie above the bios of the device below it
    return (Level.BLOCK, 2 * place.depth + (place.level is Level.DEVICE)) if place.level >= Level.BLOCK else (
        place.level,
        place.depth,
    )


def _sums(before: Snapshot, now: Snapshot) -> dict[Slot, Sums]:
    found: dict[Slot, Sums] = {}
    for (number, _), count in now.of("n").items():
        read = read_slot(number)
        if read:
            slot, bucket = read
            more = count - before.of("n").get((number, 0), 0)
            entry = found.setdefault(slot, Sums())
            if more > 0:
                entry.times[bucket] = more
    for name in ("w", "y"):
        for (number, _), total in now.of(name).items():
            read = read_slot(number)
            if read:
                more = total - before.of(name).get((number, 0), 0)
                entry = found.get(read[0], Sums())
                changed = {"total_ns": more, "spent_ns": more} if name == "w" else {"bytes": more}
                found[read[0]] = replace(entry, **changed)  # type: ignore[arg-type]
    for sign, snapshot in ((1, now), (-1, before)):
        for slot, age_ns in _ages(snapshot):
            entry = found.get(slot, Sums())
            found[slot] = replace(
                entry,
                spent_ns=entry.spent_ns + sign * age_ns,
                in_flight=entry.in_flight + (sign > 0),
                oldest_ns=max(entry.oldest_ns, age_ns) if sign > 0 else entry.oldest_ns,
            )
    return found


def _ages(snapshot: Snapshot) -> list[tuple[Slot, int]]:
    """Return slot and age of each span that is open."""
    found = []
    for name in ("r", "c", "q", "d"):
        for key, (begin_ns, number, *_) in snapshot.open(name).items():
            read = read_slot(number)
            if read and begin_ns:
                found.append((read[0], max(snapshot.time_ns - begin_ns, 0)))
            handed_ns = snapshot.of("a").get(key) if name == "c" else None
            aio = read_slot(number + _AIO_STEP) if handed_ns else None
            if aio and handed_ns:
                found.append((aio[0], max(snapshot.time_ns - handed_ns, 0)))
    return found


def ios_by_layer(frames: Iterable[Frame]) -> Mapping[tuple[str, Layer, Op], int]:
    """Return how many IOs ended in all frames together, by the first disk's name."""
    found: dict[tuple[str, Layer, Op], int] = {}
    for one in frames:
        for row in one.rows:
            if not row.place.name or row.place.level >= Level.BLOCK:
                key = (row.place.disks[0], row.layer, row.op)
                found[key] = found.get(key, 0) + row.sums.ios
    return found
