"""What a report has to know of the recording besides its IOs: target, disks, absences, losses, the clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vio.layer import Layer, Stage

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of the target; its place in the list is the number in the per-IO table."""

    name: str
    format: str = ""
    file: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """A point that was not observed, and what the report lacks without it."""

    point: str
    without: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Events that were lost after `from_ns` and before `to_ns` (CLOCK_BOOTTIME)."""

    kind: str
    where: str
    records: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recording as the report's header shows it; `layers` are those that had a point."""

    path: str
    target: str
    host: str
    started: datetime
    start_ns: int
    stop_ns: int
    disks: tuple[Disk, ...] = ()
    layers: frozenset[Layer] = frozenset(Layer)
    absent: tuple[Absent, ...] = ()
    losses: tuple[Loss, ...] = ()
    ended: str = ""

    @property
    def duration_s(self) -> float:
        """How long was recorded."""
        return (self.stop_ns - self.start_ns) / _NS

    def second(self, time_ns: int) -> float:
        """Return a time (CLOCK_BOOTTIME) as seconds from the start of the recording."""
        return (time_ns - self.start_ns) / _NS

    def disk_name(self, number: int) -> str:
        """Name a disk of the per-IO table."""
        return self.disks[number].name if 0 <= number < len(self.disks) else "unknown"

    def observes(self, stage: Stage) -> bool:
        """Say whether the stage's layer had a point."""
        return stage.layer in self.layers

    @property
    def started_text(self) -> str:
        """The wall clock at the start, in UTC."""
        return self.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stretches(losses: Iterable[Loss], gap_ns: int = _NS) -> list[Loss]:
    """Join losses of one kind and place that are less than a gap apart, in order of time."""
    joined: list[Loss] = []
    for loss in sorted(losses, key=lambda loss: (loss.kind, loss.where, loss.from_ns)):
        last = joined[-1] if joined else None
        if last and (last.kind, last.where) == (loss.kind, loss.where) and loss.from_ns - last.to_ns < gap_ns:
            joined[-1] = _both(last, loss)
        else:
            joined.append(loss)
    return sorted(joined, key=lambda loss: (loss.from_ns, loss.kind, loss.where))


def _both(first: Loss, second: Loss) -> Loss:
    until_ns = max(first.to_ns, second.to_ns)
    return Loss(first.kind, first.where, first.records + second.records, first.from_ns, until_ns)


def lost_records(losses: Sequence[Loss]) -> int:
    """Sum up what was lost."""
    return sum(loss.records for loss in losses)
