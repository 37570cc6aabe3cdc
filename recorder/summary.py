"""What a recording came to, in one line."""

from dataclasses import dataclass
from pathlib import Path

from vio.manifest import Cost, Counts, EndReason, LossTotals, Manifest, PointInfo, State
from vio.printable import printable, shell_word

# docs/probes.md: a record of bpftrace; a tracepoint of bpftrace that does nothing; one of the trace buffer
RECORD_NS = 170  # left in the map
PRINTED_RECORD_NS = 1600  # in a batch
TRACEPOINT_NS = 340
BUFFERED_NS = 67
_TOP = ("accept", "scsi_new")
_CALLS = ("bdrv_read", "bdrv_write", "bdrv_discard", "bdrv_flush")
_SUBMITS = ("laio", "luring", "pool")


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """The end of a recording. `exit_code` is that of a command that vio started."""

    path: Path
    state: State
    reason: EndReason
    detail: str
    duration_s: float
    counts: Counts
    losses: LossTotals
    cost: Cost
    exit_code: int | None = None
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Say what was recorded, what was lost, and what it cost."""
        parts = [
            f"{self.counts.rows:,} events in {self.duration_s:.1f} s",
            self._lost(),
            self._cost(),
        ]
        if self.state is not State.COMPLETE:
            parts.insert(1, f"cut short ({printable(self.detail or self.reason)})")
        return f"{printable(str(self.path))}: {'; '.join(parts)}"

    def next_command(self) -> str:
        """Return the command to type next."""
        return f"vio report {shell_word(str(self.path))}"

    def _lost(self) -> str:
        if not self.losses.by_kind and not self.counts.unaccounted:
            return "nothing lost" if self.counts.in_kernel is not None else "no loss seen"
        kinds = [f"{count:,} {kind}" for kind, count in sorted(self.losses.by_kind.items())]
        kinds += [f"{self.counts.unaccounted:,} unaccounted for"] if self.counts.unaccounted else []
        return f"lost: {', '.join(kinds)}"

    def _cost(self) -> str:
        text = f"cost: {self.cost.bpftrace_cpu_s:.1f} s CPU of bpftrace, {self.cost.vio_cpu_s:.1f} s of vio"
        if self.cost.added_us_per_io is not None:
            text += f", about {self.cost.added_us_per_io:.0f} us added to each of {self.cost.io_count:,} IOs"
        return text


def summary_of(path: Path, manifest: Manifest) -> RecordSummary:
    """Summarise a closed recording."""
    start, stop = manifest.clock.start, manifest.clock.stop
    seconds = (stop.boottime_ns - start.boottime_ns) / 1e9 if stop else 0.0
    return RecordSummary(
        path=path,
        state=manifest.state,
        reason=manifest.end.reason,
        detail=manifest.end.detail,
        duration_s=seconds,
        counts=manifest.counts,
        losses=manifest.losses,
        cost=manifest.cost,
        exit_code=manifest.end.exit_code,
        notes=manifest.notes,
    )


def added_us_per_io(
    points: tuple[PointInfo, ...],
    by_point: dict[str, int],
    buffered: frozenset[int] = frozenset(),
    record_ns: int = RECORD_NS,
) -> tuple[float | None, int]:
    """Estimate what the probes added to each IO: hits times the cost of a hit, and how many IOs there were.

    `buffered` are the numbers of the points that go through the trace buffer, not bpftrace, where each record costs
    `record_ns`. Requests taken from the guest count as IOs; without a device, calls of QEMU's block layer, less what it
    handed to the kernel, as each of that took a call of a node below.
    """
    taken, calls, submits = (sum(by_point.get(name, 0) for name in names) for names in (_TOP, _CALLS, _SUBMITS))
    ios = taken or max(calls - submits, 0) or submits
    if not ios:
        return None, 0
    total_ns = 0
    for point in points:
        total_ns += by_point.get(point.name, 0) * _hit_ns(point, point.number in buffered, record_ns)
    return total_ns / ios / 1000, ios


def _hit_ns(point: PointInfo, is_buffered: bool, record_ns: int) -> int:
    if is_buffered:
        return BUFFERED_NS + (point.cost_ns or 0)
    return record_ns + (TRACEPOINT_NS if point.cost_ns is None else point.cost_ns)
