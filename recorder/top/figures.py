"""From two snapshots to figures: rates, percentiles, and the share of the time that each layer has for itself. Pure.

A level's own time is what IOs spent there less what they spent at the next level below. The levels are counted apart,
so this is a difference of sums: what goes on below without an IO above waiting for it (writeback, other users of the
device) makes the own time smaller than it is, never below 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vio.layer import Layer, Op
from vio.recorder.top.bucket import longest_ns, percentile_ns
from vio.recorder.top.naming import Names, Place
from vio.recorder.top.slot import Level
from vio.recorder.top.snapshot import Snapshot
from vio.recorder.top.sums import Counted, Sums, counted, interval_sums

PERCENTILES = (0.5, 0.95, 0.99)
_LAYERS = {
    Level.QEMU_DEVICE: Layer.QEMU_DEVICE,
    Level.QEMU_BLOCK: Layer.QEMU_BLOCK,
    Level.QEMU_AIO: Layer.QEMU_AIO,
    Level.BLOCK: Layer.BLOCK,
    Level.DEVICE: Layer.DEVICE,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation at one level; `share` is the level's of its disk's time, all operations together.

    It is None where it cannot be said.
    """

    place: Place
    layer: Layer
    op: Op
    sums: Sums
    seconds: float
    share: float | None = None

    @property
    def iops(self) -> float:
        """IOs that ended, per second."""
        return self.sums.ended / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes of those."""
        return self.sums.bytes / self.seconds

    @property
    def mean_ns(self) -> float | None:
        """The mean of their times."""
        return self.sums.total_ns / self.sums.timed if self.sums.timed else None

    @property
    def in_flight_is_known(self) -> bool:
        """Whether IOs in flight are counted here: the kernel counts a device's as those of the block layer."""
        return self.place.level is not Level.DEVICE

    def percentiles_ns(self) -> tuple[float | None, ...]:
        """Return PERCENTILES of their times."""
        return tuple(percentile_ns(self.sums.times, share) for share in PERCENTILES)

    @property
    def longest_ns(self) -> int | None:
        """The end of the highest bucket: the longest time is at most this, and 1/16 less at least."""
        return longest_ns(self.sums.times)


@dataclass(frozen=True, slots=True)
class Frame:
    """The figures of one interval, which ends at `time_ns` (CLOCK_BOOTTIME); `notes` say what is missing from them."""

    time_ns: int
    seconds: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def frame(before: Snapshot, now: Snapshot, names: Names, counts: Mapping[int, Counted] | None = None) -> Frame:
    """Return the figures between two snapshots; `counts` are the kernel's own of each device."""
    sums = counted(interval_sums(before, now), counts or {}, now.time_ns - before.time_ns)
    places = names.places(now, sums)
    seconds = max(now.time_ns - before.time_ns, 1) / 1e9
    together: dict[tuple[Place, Op], Sums] = {}
    for slot, one in sums.items():
        if slot in places and (one.ended or one.in_flight):
            key = (places[slot], slot.op)
            together[key] = together.get(key, Sums()).plus(one)
    rows = [
        Row(place, _LAYERS[place.level], op, one, seconds)
        for (place, op), one in sorted(together.items(), key=lambda item: _order(*item[0]))
    ]
    return Frame(now.time_ns, seconds, tuple(with_shares(rows)))


def _order(place: Place, op: Op) -> tuple[bool, Place, int]:
    """Put what several disks share after the disks."""
    return len(place.disks) > 1, place, list(Op).index(op)


def with_shares(rows: Sequence[Row]) -> list[Row]:
    """Give each row its level's own share of its disk's time."""
    spent: dict[tuple[str, ...], dict[Place, int]] = {}
    for row in rows:
        levels = spent.setdefault(row.place.disks, {})
        levels[row.place] = levels.get(row.place, 0) + row.sums.spent_ns
    shares: dict[Place, float] = {}
    for disks, levels in spent.items():
        if len(disks) > 1:
            continue  # a device of several disks: whose its time is, the counts do not tell
        ordered = sorted(levels)
        whole = max(1, *levels.values())
        for place, below in zip(ordered, [*(levels[one] for one in ordered[1:]), 0], strict=True):
            shares[place] = min(max((levels[place] - below) / whole, 0.0), 1.0)
    return [replace(row, share=shares.get(row.place)) for row in rows]
