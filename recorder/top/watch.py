"""Watch a VM: start the program, read what it prints at each tick, and give the figures, until something ends it."""

import os
import select
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vio.errors import HostError, TargetError, UsageError
from vio.recorder.aim import Aim, aim
from vio.recorder.attachkey import attach_key
from vio.recorder.bpftrace import Bpftrace, BpftraceOptions, searches_types, takes_no_warnings
from vio.recorder.checkup import PROBES
from vio.recorder.clock import boottime_ns
from vio.recorder.generate import Scope
from vio.recorder.host import HostFeatures, read_host
from vio.recorder.lacks import missing
from vio.recorder.missed import AttachKey, MissedHits
from vio.recorder.plan import Plan, constants_of, make_plan
from vio.recorder.probe import load_probes
from vio.recorder.procfs import HostRoots, read_open_files
from vio.recorder.scope import Ground, find_ground
from vio.recorder.stop import StopSignals, open_process
from vio.recorder.top.devstat import DeviceCounts, read_counts
from vio.recorder.top.figures import Frame, frame
from vio.recorder.top.naming import Below, Names
from vio.recorder.top.slot import Level
from vio.recorder.top.snapshot import Reader, Snapshot
from vio.recorder.top.spanform import FORMS, TopScope, generate_top
from vio.recorder.top.target import Watched

_MAP_ENTRIES = 16_384
_PAGES = 1024  # each tick prints all the maps at once
_ATTACH_S = 180.0
_END_S = 15.0
_TICK_S = 0.2
_LAST_TICK_S = 2.0  # how long an ended target's last figures are waited for
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
    """A running watch; `frames` yields the figures of each interval, the last one when the target has ended."""

    def __init__(self, options: WatchOptions, found: Aim, tools: "_Tools") -> None:
        self.watched = Watched(found.target.title, found.target.name, found.target.pid, tools.notes)
        self._options = options
        self._aim = found
        self._tools = tools
        self._names = Names(found.disks, tools.below)
        self._reader = Reader()
        self._process = HostRoots().process(found.target.pid)

    def attach(self) -> None:
        """Wait until the probes are attached.

        Raises:
            HostError: bpftrace ended instead.
            KeyboardInterrupt: the user does not want to any more.
        """
        tracer, stop = self._tools.tracer, self._tools.stop
        deadline = time.monotonic() + _ATTACH_S
        while not self._reader.is_ready:
            select.select([tracer.fileno(), stop.fileno()], [], [], _TICK_S)
            if stop.count:
                raise KeyboardInterrupt
            list(self._reader.feed(tracer.read()))
            if tracer.is_eof:
                raise tracer.failure()
            if time.monotonic() > deadline and tracer.used_s() < _ATTACH_S / 10:
                raise HostError("bpftrace did not attach the probes in time", "is this machine busy with other things?")
        if self._aim.command:
            self._aim.command.go()

    def frames(self) -> Iterator[Frame]:
        """Yield the figures of each interval, until `count` of them, a signal, or the end of the target."""
        missed = MissedHits(self._tools.tracer.pid, self._tools.keys, boottime_ns())
        missed.begin()
        before, counts = Snapshot(boottime_ns()), self._counts()
        shown = 0
        for now in self._snapshots():
            later = self._counts()
            both = {device: (counts[device], later[device]) for device in counts.keys() & later.keys()}
            missed.sample(now.time_ns)
            figures = frame(before, now, self._learned(now), both)
            lost = sum(loss.records for loss in missed.losses if loss.where not in _COUNTED_BY_KERNEL)
            missed.losses.clear()
            yield replace(figures, notes=tuple(_notes(before, now, lost)))
            before, counts, shown = now, later, shown + 1
            if shown == self._options.count:
                return

    def _counts(self) -> dict[int, DeviceCounts]:
        read = {device: read_counts(device) for device in self._tools.below.queues()}
        return {device: counts for device, counts in read.items() if counts}

    def _learned(self, now: Snapshot) -> Names:
        if not self._names.knows_all(now):
            with suppress(OSError):
                self._names.learn_files(read_open_files(self._process))
        return self._names

    def _snapshots(self) -> Iterator[Snapshot]:
        tools = self._tools
        waits = [tools.tracer.fileno(), tools.stop.fileno(), tools.pidfd]
        last_s = 0.0
        while not tools.tracer.is_eof:
            woken = select.select(waits, [], [], _TICK_S)[0]
            if tools.stop.count:
                return
            for snapshot in self._reader.feed(tools.tracer.read()):
                yield snapshot
                if last_s:
                    return
            if tools.pidfd in woken and not last_s:
                waits.remove(tools.pidfd)
                last_s = time.monotonic() + min(self._options.interval_s, _LAST_TICK_S)
            if last_s and time.monotonic() > last_s:
                yield from self._at_end()
                return
        raise HostError(f"bpftrace ended before it was asked to: {tools.tracer.why_ended()}", "`vio doctor` tries it")

    def _at_end(self) -> Iterator[Snapshot]:
        """End bpftrace, which prints its maps once more."""
        tracer, deadline = self._tools.tracer, time.monotonic() + _END_S
        tracer.interrupt()
        while not tracer.is_eof and time.monotonic() < deadline:
            select.select([tracer.fileno()], [], [], _TICK_S)
            yield from self._reader.feed(tracer.read())


@dataclass(frozen=True, slots=True)
class _Tools:
    tracer: Bpftrace
    stop: StopSignals
    pidfd: int
    below: Below
    keys: dict[AttachKey, str]
    notes: tuple[str, ...]


@contextmanager
def watching(options: WatchOptions) -> Iterator[Watch]:
    """Start to watch; leaving the context takes the probes away.

    Raises:
        UsageError: the options contradict each other.
        HostError: this host cannot trace.
        TargetError: the target is not there or cannot be followed.
    """
    if sum([options.vm is not None, options.pid is not None, bool(options.command)]) > 1:
        raise UsageError("more than one of --vm, --pid and a command were given", "give one of them")
    host = read_host()
    for lack in missing(host):
        if lack.is_fatal:
            raise HostError(f"this host cannot trace: {lack.what} is missing", lack.todo)
    with ExitStack() as stack:
        found = stack.enter_context(aim(options.vm, options.pid, options.command, options.disks))
        below, grounds = _below(found)
        plan, scope = _plan(host, found, grounds)
        program = generate_top(
            plan.chosen, TopScope(scope, round(options.interval_s * 1000), below.queues(), below.whole())
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vio-top-")))
        (folder / "program.bt").write_text(program)
        stop = stack.enter_context(StopSignals())
        pidfd = _open_target(found, stack)
        tracer = stack.enter_context(_tracer(host, folder))
        keys = {key: one.point.name for one in plan.chosen if (key := attach_key(one.way, found, host))}
        watch = Watch(options, found, _Tools(tracer, stop, pidfd, below, keys, _lacking(plan)))
        yield watch


def _below(found: Aim) -> tuple[Below, Ground]:
    devices = {disk.name: tuple(find_ground([disk]).devices) for disk in found.disks}
    return Below(devices), find_ground(found.disks)


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


def _lacking(plan: Plan) -> tuple[str, ...]:
    return tuple(f"{one.name}: {one.why}: {one.without}" for one in plan.absent)


def _tracer(host: HostFeatures, folder: Path) -> Bpftrace:
    if host.bpftrace is None:
        raise HostError("bpftrace is missing", "install it")
    path = host.bpftrace.path
    settings = BpftraceOptions(
        path, _PAGES, _MAP_ENTRIES, takes_no_warnings(path), searches_types(host.bpftrace.version)
    )
    return Bpftrace(folder / "program.bt", folder / "log.txt", settings)


def _open_target(found: Aim, stack: ExitStack) -> int:
    try:
        pidfd = open_process(found.target.pid)
    except ProcessLookupError:
        raise TargetError(f"{found.target.title} has ended", "`vio list` shows what is running") from None
    stack.callback(os.close, pidfd)
    return pidfd


def _notes(before: Snapshot, now: Snapshot, missed: int) -> Iterator[str]:
    key = (int(Level.QEMU_AIO), 0)
    unplaced = now.of("lost").get(key, 0) - before.of("lost").get(key, 0)
    if unplaced:
        yield f"{unplaced:,} requests were handed to the kernel by a call that was not seen: not counted in qemu-aio"
    if missed:
        yield f"{missed:,} hits of probes were not run by the kernel: counts may be short by as many"
    sizes = {name: len(entries) for name, entries in now.numbers.items()}
    sizes |= {name: len(entries) for name, entries in now.spans.items()}
    for name, size in sizes.items():
        if size >= _MAP_ENTRIES - 1:
            yield f"map @{name} is full: what came after is not counted"
