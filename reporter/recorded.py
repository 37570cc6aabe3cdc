"""What a report has to know of the recording besides its IOs: target, disks, absences, losses, the clock."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vio.layer import Layer, Stage
from vio.losses import Loss
from vio.manifest import EndReason, Manifest, State
from vio.recording import Recording

_NS = 1_000_000_000
_STOLEN = 0.01  # shown from here on
_ENDS = {
    EndReason.STOPPED: "stopped",
    EndReason.DURATION: "its duration was over",
    EndReason.TARGET_ENDED: "the target ended",
    EndReason.COMMAND_ENDED: "the command ended",
    EndReason.BPFTRACE_ENDED: "bpftrace ended",
    EndReason.OUTPUT_FAILED: "the output could not be written",
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording as the report's header shows it; `last_ns` is its last event, for one without an orderly end.

    `fingerprint` is of the recording's files (vio.recording), empty where there are none.
    """

    path: str
    manifest: Manifest
    losses: tuple[Loss, ...] = ()
    last_ns: int = 0
    fingerprint: str = ""

    @classmethod
    def of(cls, recording: Recording) -> "Recorded":
        """Describe a recording that was opened."""
        segments = (*recording.segments(), *recording.late_segments())
        last_ns = max((segment.last_ns for segment in segments), default=0)
        losses = tuple(recording.read_losses())
        return cls(str(recording.path), recording.manifest, losses, last_ns, recording.fingerprint())

    @property
    def start_ns(self) -> int:
        """The start, CLOCK_BOOTTIME."""
        return self.manifest.clock.start.boottime_ns

    @property
    def stop_ns(self) -> int:
        """The end, CLOCK_BOOTTIME."""
        stop = self.manifest.clock.stop
        return stop.boottime_ns if stop else max(self.last_ns, self.start_ns)

    @property
    def duration_s(self) -> float:
        """How long was recorded."""
        return self.second(self.stop_ns)

    def second(self, time_ns: int) -> float:
        """Return a time (CLOCK_BOOTTIME) as seconds from the start of the recording."""
        return (time_ns - self.start_ns) / _NS

    @property
    def disk_names(self) -> tuple[str, ...]:
        """The names of the disks, in the order of their numbers in the per-IO table."""
        return tuple(disk.name for disk in self.manifest.target.disks)

    def disk_name(self, number: int) -> str:
        """Name a disk of the per-IO table."""
        names = self.disk_names
        return names[number] if 0 <= number < len(names) else "unknown"

    def device_name(self, kernel_dev: int) -> str:
        """Name a block device by its number in the events (major << 20 | minor)."""
        names = (device.name for device in self.manifest.devices if device.kernel_dev == kernel_dev)
        return next(names, f"device {kernel_dev >> 20}:{kernel_dev & 0xFFFFF}")

    @property
    def layers(self) -> frozenset[Layer]:
        """The layers that had a point at which spans begin or end; a mark alone shows no work."""
        return frozenset(point.layer for point in self.manifest.points if point.role != "mark")

    def observes(self, stage: Stage) -> bool:
        """Say whether the stage's layer had a point."""
        return stage.layer in self.layers

    @property
    def target_text(self) -> str:
        """The target in a few words."""
        target = self.manifest.target
        words = " ".join(part for part in (target.kind, target.version) if part)
        return f"{target.name or target.exe} (pid {target.pid}, {words})"

    @property
    def stolen_share(self) -> float | None:
        """The share of its CPUs' time that the hypervisor below the host withheld; None if that is not known."""
        whole_s = self.duration_s * self.manifest.host.cpu_count
        stolen_s = self.manifest.stolen_cpu_s
        return None if stolen_s is None or whole_s <= 0 else stolen_s / whole_s

    @property
    def host_text(self) -> str:
        """The host in a few words."""
        host, share = self.manifest.host, self.stolen_share or 0.0
        stolen = f"; of their time the hypervisor below withheld {share:.1%}" if share >= _STOLEN else ""
        return f"{host.name} (Linux {host.kernel}, {host.machine}, {host.cpu_count} CPUs{stolen})"

    @property
    def started_text(self) -> str:
        """The wall clock at the start, in UTC."""
        started = datetime.fromtimestamp(self.manifest.clock.start.wall_ns / _NS, tz=UTC)
        return started.strftime("%Y-%m-%d %H:%M:%S UTC")

    @property
    def is_cut(self) -> bool:
        """Whether it ended before its time: the kernel's own counts, or its last seconds, may be missing."""
        broke = self.manifest.end.reason in {EndReason.BPFTRACE_ENDED, EndReason.OUTPUT_FAILED}
        return broke or self.manifest.state is not State.COMPLETE

    @property
    def end_text(self) -> str:
        """Why it ended."""
        if self.manifest.state is State.RUNNING:
            return "the recorder did not close it: it was killed, or it is still running"
        end = self.manifest.end
        reason = "; ".join(part for part in (_ENDS.get(end.reason, ""), end.detail) if part)
        if self.manifest.state is State.CUT:
            return f"cut short: {reason or 'the reason is not known'}; the kernel's own counts are missing"
        return reason


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
    is_known = first.records >= 0 and second.records >= 0
    records = first.records + second.records if is_known else -1
    return replace(first, records=records, to_ns=max(first.to_ns, second.to_ns))
