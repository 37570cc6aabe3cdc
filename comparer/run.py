"""The figures of one run: distributions of its IOs' times by disk, operation and size, in blocks of its time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from vio.comparer.sketch import Sketch, merged
from vio.layer import Phase, Stage
from vio.reporter.units import bytes_text
from vio.terms import time_column

LATENCY, UNATTRIBUTED = "latency_ns", "unattributed_ns"
PARTS = (*(time_column(stage, phase) for stage in Stage for phase in Phase), UNATTRIBUTED)
"""The columns of an IO's times that add up to its latency."""
WAITS = ("runqueue_ns",)
"""Of which, not beside."""
ROWS = (LATENCY, *PARTS, *WAITS)
BLOCKS = 10
_DISTURBED = 0.05  # of its CPUs' time withheld from the host


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which IOs: disk, operation, and the powers of two at or below their length and depth (-1: none, or all).

    The depth is the number of IOs in flight when one begins.
    """

    disk: str
    op: str
    size: int = -1
    depth: int = -1

    @property
    def class_text(self) -> str:
        """The classes of size and depth in words."""
        words = [bytes_text(1 << self.size).replace(".0", "")] if self.size >= 0 else []
        if self.depth >= 0:
            least, most = 1 << self.depth, (2 << self.depth) - 1
            words.append(f"{least} in flight" if least == most else f"{least} to {most} in flight")
        return ", ".join(words)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """IOs of one key in one block: how many, their bytes, and the distribution of each row that any of them has."""

    io_count: int
    bytes: int
    rows: dict[str, Sketch]

    def row(self, name: str) -> Sketch | None:
        """Return a row's distribution; None if no IO has that time."""
        return self.rows.get(name)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A stretch of a run: when its first IO began and its last ended (CLOCK_BOOTTIME), and its IOs by key.

    `idle_ns` of it is before the load, or after: see `idle_times_ns`.
    """

    begin_ns: int
    end_ns: int
    tallies: dict[Key, Tally]
    idle_ns: int = 0

    @property
    def active_s(self) -> float:
        """How long it had work."""
        return max(self.end_ns - self.begin_ns - self.idle_ns, 1) / 1e9


@dataclass(frozen=True, slots=True)
class DiskWords:
    """How a disk is set up."""

    name: str
    format: str
    cache: str
    aio: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is a recording of, for telling whether two can be compared.

    `lost` counts records, -1 where it is not known; `whole_share` is of the IOs; `extents` are ranges of the maps;
    `target_cpu_s` is of QEMU, virtual CPUs included, while it was recorded; `stolen_share` is what the hypervisor below
    the host withheld of the time of its CPUs.
    """

    name: str
    started_ns: int
    duration_s: float
    host: str
    kernel: str
    cpu_count: int
    qemu: str
    vio: str
    bpftrace: str
    points: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    disks: tuple[DiskWords, ...] = ()
    lost: int = 0
    is_cut: bool = False
    whole_share: float = 1.0
    extents: int = 0
    tracing_cpu_s: float = 0.0
    added_us_per_io: float | None = None
    target_cpu_s: float | None = None
    stolen_share: float | None = None

    @property
    def is_disturbed(self) -> bool:
        """Whether so much was withheld that times are no longer those of what is compared."""
        return (self.stolen_share or 0.0) >= _DISTURBED

    @property
    def lost_text(self) -> str:
        """How many records were lost."""
        return "an unknown number" if self.lost < 0 else f"{self.lost:,}"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run; `blocks` follow each other in time."""

    info: RunInfo
    blocks: tuple[Block, ...] = field(default=())

    def whole(self) -> Block:
        """Return the run as one block."""
        return joined(self.blocks)


def joined(blocks: Sequence[Block]) -> Block:
    """Return several blocks as one."""
    keys = dict.fromkeys(key for block in blocks for key in block.tallies)
    tallies = {key: merged_tally([b.tallies[key] for b in blocks if key in b.tallies]) for key in keys}
    idle_ns = sum(block.idle_ns for block in blocks)
    return Block(min(b.begin_ns for b in blocks), max(b.end_ns for b in blocks), tallies, idle_ns)


def idle_times_ns(bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Return how long a run was idle in each of its blocks: before its load, or after; `bounds` are begins and ends.

    Blocks have equally many IOs. A guest that boots reads a few sectors long before its load begins: so what the first
    and the last block last longer than any between them is no time of the load.
    """
    lasting = [after - begin for (begin, _), (after, _) in pairwise(bounds)]
    lasting.append(bounds[-1][1] - bounds[-1][0])
    longest = max(lasting[1:-1], default=max(lasting))
    return [max(one - longest, 0) if number in (0, len(bounds) - 1) else 0 for number, one in enumerate(lasting)]


def merged_tally(tallies: Sequence[Tally]) -> Tally:
    """Return several tallies as one."""
    names = dict.fromkeys(name for one in tallies for name in one.rows)
    rows = {name: merged([one.rows[name] for one in tallies if name in one.rows]) for name in names}
    return Tally(sum(one.io_count for one in tallies), sum(one.bytes for one in tallies), rows)


def without_sizes(block: Block) -> Block:
    """Return a block whose tallies are by disk and operation alone."""
    groups: dict[Key, list[Tally]] = {}
    for key, tally in block.tallies.items():
        groups.setdefault(Key(key.disk, key.op), []).append(tally)
    return replace(block, tallies={key: merged_tally(some) for key, some in groups.items()})


def keys_of(blocks: Iterable[Block]) -> set[Key]:
    """Return every key that some block has."""
    return {key for block in blocks for key in block.tallies}
