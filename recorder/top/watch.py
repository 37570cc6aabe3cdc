"""Watch a VM: start the program, read what it prints at each tick, and give the figures, until something ends it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from vio.errors import TargetError, UsageError
from vio.recorder.aim import Aim, aim
from vio.recorder.attachkey import attach_key
from vio.recorder.checkup import PROBES
from vio.recorder.clock import boottime_ns
from vio.recorder.generate import Scope
from vio.recorder.host import HostFeatures
from vio.recorder.missed import MissedHits
from vio.recorder.plan import Plan, constants_of, make_plan
from vio.recorder.probe import load_probes
from vio.recorder.procfs import HostRoots, read_open_files
from vio.recorder.scope import Ground, find_ground
from vio.recorder.top.devstat import DeviceCounts, read_counts
from vio.recorder.top.figures import Frame, frame
from vio.recorder.top.naming import Below, Names
from vio.recorder.top.slot import Level
from vio.recorder.top.snapshot import Snapshot
from vio.recorder.top.spanform import FORMS, TopScope, generate_top
from vio.recorder.top.target import Watched
from vio.recorder.top.ticks import MAP_ENTRIES, Ticks, able_host

# what the kernel leaves out of these is in its own counts (devstat)
_COUNTED_BY_KERNEL = frozenset({"bio_queue", "bio_backmerge", "bio_frontmerge", "rq_issue", "rq_complete"})


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Whom to watch, and how: `interval_s` between refreshes, `count` of them (0: until Ctrl-C).

    Exactly one of `vm`, `pid` and `command`, or none of them for the only QEMU that runs.
    """

    vm: str | None = None
    pid: int | None = None
    command: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    interval_s: float = 1.0
    count: int = 0


class Watch:
    """A running watch. `watched` says of whom."""

    def __init__(self, options: WatchOptions, found: Aim, below: Below, plan: Plan, ticks: Ticks) -> None:
        lacks = tuple(f"{one.name}: {one.why}: {one.without}" for one in plan.absent)
        self.watched = Watched(found.target.title, found.target.name, found.target.pid, lacks)
        self._options = options
        self._aim = found
        self._below = below
        self._plan = plan
        self._ticks = ticks
        self._names = Names(found.disks, below)
        self._process = HostRoots().process(found.target.pid)

    def frames(self, host: HostFeatures) -> Iterator[Frame]:
        """Yield the figures of each interval, until `count` of them, a signal, or the end of the target.

        Raises:
            HostError: bpftrace ended.
        """
        points = {key: one.point.name for one in self._plan.chosen if (key := attach_key(one.way, self._aim, host))}
        missed = MissedHits(self._ticks.tracer_pid, points, boottime_ns())
        missed.begin()
        self._learn_files()  # now: a process that ends within the first interval has none any more
        before, counts = Snapshot(boottime_ns()), self._counts()
        if self._aim.command:
            self._aim.command.go()
        shown = 0
        for now in self._ticks.snapshots(self._options.interval_s):
            later = self._counts()
            both = {device: (counts[device], later[device]) for device in counts.keys() & later.keys()}
            missed.sample(now.time_ns)
            lost = sum(loss.records for loss in missed.losses if loss.where not in _COUNTED_BY_KERNEL)
            missed.losses.clear()
            yield replace(frame(before, now, self._learned(now), both), notes=tuple(_notes(before, now, lost)))
            before, counts, shown = now, later, shown + 1
            if shown == self._options.count:
                return

    def _counts(self) -> dict[int, DeviceCounts]:
        read = {device: read_counts(device) for device in self._below.queues()}
        return {device: counts for device, counts in read.items() if counts}

    def _learned(self, now: Snapshot) -> Names:
        if not self._names.knows_all(now):
            self._learn_files()
        return self._names

    def _learn_files(self) -> None:
        with suppress(OSError):
            self._names.learn_files(read_open_files(self._process))


@contextmanager
def watching(options: WatchOptions) -> Iterator[tuple[Watched, Iterator[Frame]]]:
    """Start to watch, and wait until the probes are attached; give who is watched, and the figures.

    Leaving the context takes the probes away.

    Raises:
        UsageError: the options contradict each other.
        HostError: this host cannot trace.
        KeyboardInterrupt: the user does not want to any more.
        TargetError: the target is not there or cannot be followed.
    """
    if sum([options.vm is not None, options.pid is not None, bool(options.command)]) > 1:
        raise UsageError("more than one of --vm, --pid and a command were given", "give one of them")
    host = able_host()
    with ExitStack() as stack:
        found = stack.enter_context(aim(options.vm, options.pid, options.command, options.disks))
        below = Below({disk.name: tuple(find_ground([disk]).devices) for disk in found.disks})
        plan, scope = _plan(host, found, find_ground(found.disks))
        top_scope = TopScope(scope, round(options.interval_s * 1000), below.queues(), below.whole())
        ticks = Ticks(generate_top(plan.chosen, top_scope), host, found.target.pid, stack)
        watch = Watch(options, found, below, plan, ticks)
        ticks.wait_ready()
        yield watch.watched, watch.frames(host)


def _plan(host: HostFeatures, found: Aim, ground: Ground) -> tuple[Plan, Scope]:
    scope = Scope(
        found.target.pid, found.binary, ground.kernel_devs, ground.file_ids, constants=constants_of(found.subject)
    )
    points = [point for point in load_probes(PROBES) if point.name in FORMS]
    plan = make_plan(points, host, found.subject, scope)
    if not any(one.way.provider in {"uprobe", "usdt"} for one in plan.chosen):
        raise TargetError(
            f"{found.target.exe} lacks the functions that vio observes", "`vio doctor` shows which; try another build"
        )
    return plan, scope


def _notes(before: Snapshot, now: Snapshot, missed: int) -> Iterator[str]:
    key = (int(Level.QEMU_AIO), 0)
    unplaced = now.of("lost").get(key, 0) - before.of("lost").get(key, 0)
    if unplaced:
        yield f"{unplaced:,} requests were handed to the kernel by a call that was not seen: not counted in qemu-aio"
    if missed:
        yield f"{missed:,} hits of probes were not run by the kernel: counts may be short by as many"
    yield from full_maps(now)


def full_maps(now: Snapshot) -> Iterator[str]:
    """Yield a note for each map that takes no more."""
    sizes = {name: len(entries) for name, entries in now.numbers.items()}
    sizes |= {name: len(entries) for name, entries in now.spans.items()}
    for name, size in sizes.items():
        if size >= MAP_ENTRIES - 1:
            yield f"map @{name} is full: what came after is not counted"
