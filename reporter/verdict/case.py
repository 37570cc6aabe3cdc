"""What the rules judge: a report's figures by disk and operation, with the words and weights that all rules share."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vio.layer import Layer, Op, Phase, Stage
from vio.manifest import DiskInfo
from vio.printable import shell_word
from vio.reporter.busy import Busy
from vio.reporter.group import Group
from vio.reporter.recorded import Recorded
from vio.reporter.result import Report
from vio.reporter.units import share_text, time_text
from vio.reporter.verdict.finding import Finding, Number, Severity
from vio.reporter.verdict.tally import Tallies, Tally

LEAST_IOS = 8
"""Fewer than this say nothing."""
LEAST_SHARE = 0.05
"""An operation that takes less of its disk's time is nobody's trouble."""
PROBLEM_SHARE, PROBLEM_NS = 0.25, 500_000
"""What costs this share of an operation's time, and so much of its mean IO, is a problem."""
NOTE_SHARE, NOTE_NS = 0.10, 100_000
"""What costs at least this is worth a note."""
PLURALS: dict[str, str] = {Op.READ: "reads", Op.WRITE: "writes", Op.FLUSH: "flushes", Op.DISCARD: "discards"}
_STAGES = tuple(Stage)
_PHASES = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Subject:
    """One operation on one disk; all times are of its IOs that ended."""

    disk: int
    op: Op
    name: str
    info: DiskInfo | None
    group: Group
    tally: Tally

    @property
    def count(self) -> int:
        """How many ended."""
        return self.group.latency.count

    @property
    def total_ns(self) -> int:
        """All their latencies."""
        return self.group.latency.total_ns

    @property
    def words(self) -> str:
        """The subject in a sentence."""
        return f"{PLURALS.get(self.op, f'{self.op} requests')} of {self.name}"

    def time_ns(self, *stages: Stage, phase: Phase | None = None) -> int:
        """Return own time in some stages, all phases or one."""
        places = [_STAGES.index(stage) for stage in stages]
        phases = [_PHASES.index(one) for one in _PHASES if phase in (None, one)]
        return int(self.group.times_ns[places][:, phases].sum())

    def share(self, cost_ns: float) -> float:
        """Return a cost as a share of the time."""
        return cost_ns / self.total_ns if self.total_ns else 0.0

    def mean_ns(self, cost_ns: float) -> float:
        """Return a cost by IO."""
        return cost_ns / self.count if self.count else 0.0

    def severity(self, cost_ns: float) -> Severity | None:
        """Weigh what something costs; None if that is not worth a word."""
        share, mean_ns = self.share(cost_ns), self.mean_ns(cost_ns)
        if share >= PROBLEM_SHARE and mean_ns >= PROBLEM_NS:
            return Severity.PROBLEM
        return Severity.NOTE if share >= NOTE_SHARE and mean_ns >= NOTE_NS else None

    def cost(self, cost_ns: float) -> str:
        """Say what something costs."""
        return f"{share_text(self.share(cost_ns))} of the time, {time_text(self.mean_ns(cost_ns))} an IO"

    def numbers(self, cost_ns: float) -> dict[str, Number]:
        """Return what every finding about a cost tells."""
        return {
            "io_count": self.count,
            "time_share": round(self.share(cost_ns), 4),
            "mean_ns": round(self.mean_ns(cost_ns)),
        }


@dataclass(frozen=True, slots=True)
class Case:
    """A report, and what was tallied beside it."""

    report: Report
    tallies: Tallies
    busy: Busy | None = None
    subjects: tuple[Subject, ...] = field(default=())

    @classmethod
    def of(cls, report: Report, tallies: Tallies, busy: Busy | None) -> "Case":
        """Take the operations that have enough IOs, those that took most time first."""
        disks = report.recorded.manifest.target.disks
        subjects = [
            Subject(disk, op, report.recorded.disk_name(disk), _at(disks, disk), group, tallies.groups[op, disk])
            for (op, disk), group in report.summary.groups.items()
            if group.latency.count >= LEAST_IOS and (op, disk) in tallies.groups
        ]
        of_disk: dict[int, int] = {}
        for one in subjects:
            of_disk[one.disk] = of_disk.get(one.disk, 0) + one.total_ns
        weighty = [one for one in subjects if one.total_ns >= LEAST_SHARE * of_disk[one.disk]]
        return cls(report, tallies, busy, tuple(sorted(weighty, key=lambda one: -one.total_ns)))

    @property
    def recorded(self) -> Recorded:
        """What is known of the recording."""
        return self.report.recorded

    def of_ops(self, *ops: Op) -> Iterator[Subject]:
        """Give the subjects of some operations."""
        return (one for one in self.subjects if one.op in ops)

    def of_disk(self, disk: int) -> list[Subject]:
        """Give the subjects of one disk."""
        return [one for one in self.subjects if one.disk == disk]

    @property
    def disks(self) -> list[int]:
        """The disks that have subjects, those that took most time first."""
        return list(dict.fromkeys(one.disk for one in self.subjects))

    def observes(self, layer: Layer) -> bool:
        """Tell whether a layer had points."""
        return layer in self.recorded.layers

    def device_names(self, subject: Subject) -> str:
        """Name the devices that a subject's IOs went to, the most used first."""
        devices = sorted(subject.tally.devices.items(), key=lambda item: -item[1])
        return ", ".join(self.recorded.device_name(one) for one, _ in devices[:2] if one) or "its device"

    def command(self, *options: str) -> str:
        """Return a `vio report` of this recording."""
        return " ".join(("vio report", shell_word(self.recorded.path), *options))

    def look_at(self, subject: Subject) -> str:
        """Return the command that shows a subject's slowest IOs, and its layers."""
        of_disk = [f"--disk {shell_word(subject.name)}"] if len(self.recorded.disk_names) > 1 else []
        return self.command(f"--op {subject.op}", *of_disk)

    def finding(
        self,
        rule: str,
        severity: Severity,
        subject: Subject,
        sentence: str,
        numbers: dict[str, Number],
        command: str = "",
    ) -> Finding:
        """Make a finding about a subject."""
        shown = command or self.look_at(subject)
        return Finding(rule, severity, sentence, subject.name, subject.op.value, numbers, shown)


def _at(disks: tuple[DiskInfo, ...], number: int) -> DiskInfo | None:
    return disks[number] if 0 <= number < len(disks) else None
