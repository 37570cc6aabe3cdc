"""What a recording says about itself: manifest.json, as frozen dataclasses."""

from dataclasses import dataclass, field
from enum import StrEnum

from vio.layer import Layer


class State(StrEnum):
    """How far a recording has come."""

    RUNNING = "running"
    """It is being written; or its recorder was killed, and there is no end."""
    COMPLETE = "complete"
    """It was closed, and all that the kernel counted is accounted for."""
    CUT = "cut"
    """It was closed, but the kernel's own counts did not arrive: bpftrace or the disk gave way."""


class EndReason(StrEnum):
    """Why a recording ended."""

    NONE = ""
    STOPPED = "stopped"
    DURATION = "duration"
    TARGET_ENDED = "target-ended"
    COMMAND_ENDED = "command-ended"
    BPFTRACE_ENDED = "bpftrace-ended"
    OUTPUT_FAILED = "output-failed"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Version of the recording's format."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class Creator:
    """The program that wrote the recording."""

    name: str
    version: str
    bpftrace: str = ""


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The machine that was recorded on."""

    name: str
    kernel: str
    machine: str
    cpu_count: int


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant by two clocks: CLOCK_BOOTTIME, which all events have, and CLOCK_REALTIME (Unix time)."""

    boottime_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The time in which all probes were attached: some events are later than `stop`, while the probes go one by one.

    `stop` is None without an orderly end.
    """

    start: Moment
    stop: Moment | None = None


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """Another file of an image; `role` is `data` (its external data file), `backing`, or `overlay`.

    An overlay was put in the image's place while it was recorded: by a snapshot, or at the end of a mirror. `fds`,
    `cluster_bytes` and `subcluster_bytes` are as in DiskInfo.
    """

    role: str
    path: str
    format: str
    space: str
    fds: tuple[int, ...] = ()
    is_direct: bool = True
    cluster_bytes: int = 0
    subcluster_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """One disk of the target; `space` is the address space of its image (`file:...` or `dev:...`).

    `chain` are the image's other files that QEMU has open, nearest first, and then its overlays in order of time: what
    the disk is otherwise, it was at the start. `cluster_bytes` is the cluster of a qcow2
    image, `subcluster_bytes` what it allocates at once; 0 where that is not known.
    """

    name: str
    model: str
    format: str
    path: str
    cache: str
    aio: str
    space: str = ""
    fds: tuple[int, ...] = ()
    virtual_size_bytes: int | None = None
    is_read_only: bool = False
    is_recorded: bool = True
    why_not: str = ""
    notes: tuple[str, ...] = ()
    chain: tuple[ChainInfo, ...] = ()
    cluster_bytes: int = 0
    subcluster_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """The QEMU process; `command` is what vio started, empty if it ran already."""

    pid: int
    kind: str
    name: str
    exe: str
    version: str
    build_id: str = ""
    disks: tuple[DiskInfo, ...] = ()
    threads: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PointInfo:
    """A point that was observed. `cost_ns` is the estimate of one hit for the traced program, records apart.

    `fields` says what the event's columns hold here; lengths and addresses are bytes whatever the kernel counts in.
    `part` names the part of the layer that it begins, ends or marks ("" for a point of the layer's bounds); `join`
    says what ties its begin to its end: `thread` or `key`. The join reads its events as those of the point that it is
    `same_as`.
    """

    number: int
    name: str
    layer: Layer
    role: str
    meaning: str
    fields: str
    attach: str
    is_rare: bool = False
    cost_ns: int | None = None
    part: str = ""
    join: str = ""
    same_as: str = ""


@dataclass(frozen=True, slots=True)
class AbsentPoint:
    """A point that could not be observed here, why, and what the report lacks without it."""

    name: str
    layer: Layer
    why: str
    without: str


@dataclass(frozen=True, slots=True)
class StretchInfo:
    """A stretch of a mapped device that is one stretch of the device `parent` (kernel_dev) below it."""

    start_bytes: int
    length_bytes: int
    parent: int
    parent_start_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A block device in scope; `kernel_dev` is its number as events have it (major << 20 | minor).

    `parents` are the numbers of what lies directly below it. `mapping` says how a device of the mapper or of md maps
    ("linear", "crypt", "raid1" ...; several of one table with "+"), "" where that is not known; of an NVMe namespace
    whose IO goes by hidden devices it is "multipath". `stretches` say where to, if it maps whole stretches.
    """

    name: str
    kind: str
    major: int
    minor: int
    kernel_dev: int
    size_bytes: int
    note: str = ""
    parents: tuple[int, ...] = ()
    mapping: str = ""
    stretches: tuple[StretchInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A host file in scope: an image, or the file below a loop device; `kernel_dev` as events have it."""

    path: str
    kernel_dev: int
    inode: int
    space: str


@dataclass(frozen=True, slots=True)
class ThreadState:
    """A thread of the target when the recording stopped.

    `state` is the kernel's letter (R running, S asleep, D waiting for what cannot be interrupted, T stopped), `wchan`
    the kernel's function in which it waits, `syscall` the number of the system call that it is in (or "running"),
    `stack` the functions of its kernel stack, the innermost first. What could not be read is empty.
    """

    tid: int
    name: str
    state: str
    wchan: str = ""
    syscall: str = ""
    stack: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Records: `rows` are stored, `in_kernel` is the kernel's own count (None: not received).

    `unaccounted` is in_kernel - rows - lost: 0 in a recording that knows all its losses.
    """

    rows: int = 0
    in_kernel: int | None = None
    unaccounted: int | None = None
    by_point: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LossTotals:
    """Sums of losses.parquet, by kind."""

    records: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    lost_by_bpftrace: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What recording took: CPU seconds of vio and bpftrace, and the estimated time added to the target."""

    vio_cpu_s: float = 0.0
    bpftrace_cpu_s: float = 0.0
    added_us_per_io: float | None = None
    io_count: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """Why it ended; `exit_code` is that of a command that vio started."""

    reason: EndReason = EndReason.NONE
    detail: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A file of events: its rows lie in [first_ns, last_ns]."""

    file: str
    rows: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of manifest.json.

    `target_cpu_s` is the CPU time that the target took while it was recorded, virtual CPUs included; None if it was
    gone before it could be asked. `stolen_cpu_s` is what the hypervisor below this host withheld from all of its CPUs
    meanwhile; None if that is not known.
    `workers` are the kernel's own threads (id: name) that carried the target's IO on, or woke one of its threads: the
    scheduler's events tell of them too.
    """

    schema: SchemaVersion
    creator: Creator
    state: State
    host: HostInfo
    clock: Clock
    target: TargetInfo
    points: tuple[PointInfo, ...]
    absent: tuple[AbsentPoint, ...] = ()
    devices: tuple[DeviceInfo, ...] = ()
    files: tuple[FileInfo, ...] = ()
    end: End = End()
    counts: Counts = Counts()
    losses: LossTotals = LossTotals()
    cost: Cost = Cost()
    segments: tuple[SegmentInfo, ...] = ()
    notes: tuple[str, ...] = ()
    threads_at_stop: tuple[ThreadState, ...] = ()
    target_cpu_s: float | None = None
    stolen_cpu_s: float | None = None
    workers: dict[str, str] = field(default_factory=dict)
