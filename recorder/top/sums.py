"""What each slot has in an interval: IOs by bucket of their times, bytes, and the time that IOs spent there. Pure.

The time spent is that of the IOs that ended, plus the age of those still there at the interval's end, less the age of
those there at its begin: so an IO that hangs counts all the while.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from vio.layer import Op
from vio.recorder.top.devstat import DeviceCounts
from vio.recorder.top.slot import Level, Slot, read_slot, to_aio
from vio.recorder.top.snapshot import Snapshot

Counted = tuple[DeviceCounts, DeviceCounts]
_STACK_BYTES = 8192  # of calls within one another


@dataclass(frozen=True, slots=True)
class Sums:
    """`times` are IOs by bucket; `ended` is how many there were: more, where some could not be timed.

    `total_ns` is the time of those in `times`, `spent_ns` of all.
    """

    times: dict[int, int] = field(default_factory=dict)
    ended: int = 0
    bytes: int = 0
    total_ns: int = 0
    spent_ns: int = 0
    in_flight: int = 0
    oldest_ns: int = 0

    @property
    def timed(self) -> int:
        """How many are in `times`."""
        return sum(self.times.values())

    def plus(self, other: "Sums") -> "Sums":
        """Return both together."""
        keys = self.times.keys() | other.times.keys()
        return Sums(
            {key: self.times.get(key, 0) + other.times.get(key, 0) for key in keys},
            self.ended + other.ended,
            self.bytes + other.bytes,
            self.total_ns + other.total_ns,
            self.spent_ns + other.spent_ns,
            self.in_flight + other.in_flight,
            max(self.oldest_ns, other.oldest_ns),
        )


def interval_sums(before: Snapshot, now: Snapshot) -> dict[Slot, Sums]:
    """Return the sums of what the program has counted between two snapshots."""
    found: dict[Slot, Sums] = {}
    for slot, bucket, more in _growth(before, now, "n"):
        entry = found.setdefault(slot, Sums())
        entry.times[bucket] = more
        found[slot] = replace(entry, ended=entry.ended + more)
    for slot, _, more in _growth(before, now, "w"):
        entry = found.get(slot, Sums())
        found[slot] = replace(entry, total_ns=more, spent_ns=more)
    for slot, _, more in _growth(before, now, "y"):
        found[slot] = replace(found.get(slot, Sums()), bytes=more)
    for slot, age_ns in _ages(before):
        entry = found.get(slot, Sums())
        found[slot] = replace(entry, spent_ns=entry.spent_ns - age_ns)
    for slot, age_ns in _ages(now):
        entry = found.get(slot, Sums())
        found[slot] = replace(
            entry,
            spent_ns=entry.spent_ns + age_ns,
            in_flight=entry.in_flight + 1,
            oldest_ns=max(entry.oldest_ns, age_ns),
        )
    return found


def _growth(before: Snapshot, now: Snapshot, name: str) -> Iterator[tuple[Slot, int, int]]:
    """Yield slot, bucket, and what was added."""
    earlier = before.of(name)
    for key, number in now.of(name).items():
        read = read_slot(key[0])
        more = number - earlier.get(key, 0)
        if read and more > 0:
            yield (*read, more)


def _ages(snapshot: Snapshot) -> Iterator[tuple[Slot, int]]:
    """Yield slot and age of each span that is open."""
    handed = snapshot.of("a")
    for name in ("r", "c"):
        for key, (begin_ns, number, *_) in snapshot.open(name).items():
            read = read_slot(number)
            if (
                not read
                or not begin_ns
                or (read[0].op is Op.FLUSH and name == "c" and not _is_under_way(key[0], handed))
            ):
                continue
            yield read[0], max(snapshot.time_ns - begin_ns, 0)
            if name == "c" and handed.get(key):
                yield to_aio(read[0]), max(snapshot.time_ns - handed[key], 0)


def _is_under_way(stack: int, handed: Mapping[tuple[int, int], int]) -> bool:
    """Tell whether a flush has reached the kernel: that of a node that is read-only ends without a word."""
    return any(0 <= stack - below < _STACK_BYTES for below, _ in handed if below)


def counted(sums: Mapping[Slot, Sums], counts: Mapping[int, Counted], interval_ns: int) -> dict[Slot, Sums]:
    """Put the kernel's own counts of devices in the place of the program's.

    The program times nearly all requests: the kernel leaves out a completion that interrupts another program.
    """
    found = dict(sums)
    for device, (before, now) in counts.items():
        for op in now.requests:
            ended = now.requests[op] - before.requests.get(op, 0)
            size = now.bytes[op] - before.bytes.get(op, 0)
            for level in (Level.BLOCK, Level.DEVICE):
                slot = Slot(device, level, op)
                if level is Level.BLOCK and op is Op.FLUSH:
                    continue  # its bio has no address to know it by
                entry = found.get(slot, Sums())
                flying = now.in_flight.get(op, 0) if level is Level.BLOCK else 0
                spent_ns = entry.spent_ns * ended // entry.timed if entry.timed else 0
                if not ended:
                    spent_ns = interval_ns * min(flying, before.in_flight.get(op, 0))
                found[slot] = replace(entry, ended=ended, bytes=size, spent_ns=spent_ns, in_flight=flying)
    return found
