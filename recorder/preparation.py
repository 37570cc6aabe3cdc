"""What a recording needs before anything of it is written: the points, the bpftrace program, the trace buffer."""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from vio.errors import HostError, TargetError
from vio.layer import Layer
from vio.recorder.aim import Aim
from vio.recorder.bpfmap import can_take
from vio.recorder.checkup import PROBES
from vio.recorder.generate import BATCH, STORED, Chosen, Scope, generate
from vio.recorder.host import HostFeatures
from vio.recorder.plan import Plan, constants_of, make_plan, without_buffer
from vio.recorder.probe import check_names, load_probes
from vio.recorder.procfs import VCPU
from vio.recorder.scope import Ground, find_ground
from vio.recorder.tracebuffer import TraceBuffer
from vio.recorder.tracefields import translate_all
from vio.recorder.tracefs import tracepoint_fields
from vio.recorder.userpoints import user_points

_TRACE_MEMORY_KB = 512 << 10
_LEAST_TRACE_KB, _MOST_TRACE_KB = 1 << 10, 16 << 10


@dataclass(frozen=True, slots=True)
class Observed:
    """What to observe: the shipped probe files and the user's, points by name, and the layers to open."""

    probes: Path = PROBES
    more_probes: tuple[Path, ...] = ()
    points: tuple[str, ...] = ()
    opened: frozenset[Layer] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`chosen` are bpftrace's points, whose records are printed `batch` at a time, or stay in its maps (STORED).

    `traces` takes the others, and records nothing before its `start`; `buffered` are their numbers. `notes` say what
    could not be set up as it should be.
    """

    ground: Ground
    plan: Plan
    scope: Scope
    chosen: tuple[Chosen, ...]
    batch: int
    traces: TraceBuffer | None = None
    buffered: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The program for bpftrace."""
        return generate(self.chosen, self.scope, self.batch)

    def in_batches(self, why: str) -> Self:
        """Return the same with records that are printed, not left in the maps, and a note that says why."""
        return replace(
            self, batch=BATCH, notes=(*self.notes, f"{why}: records are printed in batches, which is dearer")
        )


def prepare(
    what: Observed,
    host: HostFeatures,
    found: Aim,
    stack: ExitStack,
    trace_kb: int | None,
    *,
    is_batched: bool = False,
) -> Prepared:
    """Choose the points and set up the trace buffer, which `stack` takes down.

    The records stay in the maps where the kernel can hand them over, unless `is_batched` says no. Where it
    refuses a trace buffer, bpftrace takes the tracepoints, and a note says so.

    Raises:
        TargetError: it lacks the functions that vio observes.
        UsageError: a probe file or a point that the user named is wrong.
        HostError: this host lacks what a point that the user named takes.
    """
    ground, scope, plan = _plan(what, host, found)
    batch = STORED if can_take() and not is_batched else BATCH
    tracefs = host.tracefs
    if tracefs is None:
        plan = without_buffer(plan)
        return Prepared(ground, plan, scope, plan.chosen, batch)
    rules, rest = translate_all(plan.chosen, scope, lambda system, event: tracepoint_fields(tracefs, system, event))
    if not rules:
        return Prepared(ground, plan, scope, plan.chosen, batch)
    buffer_kb = trace_kb or _share_kb(host.cpu_count)
    vcpus = frozenset(thread.tid for thread in found.target.threads if thread.role == VCPU)
    try:
        traces = stack.enter_context(
            TraceBuffer(tracefs, rules, found.target.pid, buffer_kb, is_paused=True, left_out=vcpus)
        )
    except HostError as error:
        note = f"no trace buffer ({error.message}): bpftrace took the tracepoints, and misses those within interrupts"
        plan = without_buffer(plan)
        return Prepared(ground, plan, scope, plan.chosen, batch, notes=(note,))
    buffered = frozenset(rule.number for rule in rules)
    return Prepared(ground, plan, scope, tuple(rest), batch, traces, buffered)


def prepare_plain(what: Observed, host: HostFeatures, found: Aim) -> Prepared:
    """Choose the points for the plain style, which costs are compared with: bpftrace alone, one printf a record."""
    ground, scope, plan = _plan(what, host, found)
    plan = without_buffer(plan)
    return Prepared(ground, plan, scope, plan.chosen, 1)


def _plan(what: Observed, host: HostFeatures, found: Aim) -> tuple[Ground, Scope, Plan]:
    ground = find_ground(found.disks)
    constants = constants_of(found.subject)
    kinds = None if "" in ground.file_systems else frozenset(ground.file_systems)
    scope = Scope(found.target.pid, found.binary, ground.kernel_devs, ground.file_ids, kinds, constants)
    points = load_probes(what.probes, *what.more_probes)
    points += user_points(what.points, host, found.subject, points)
    check_names(points)
    plan = make_plan(points, host, found.subject, scope, what.opened)
    if not any(one.way.provider in {"uprobe", "usdt"} for one in plan.chosen):
        raise TargetError(
            f"{found.target.exe} lacks the functions that vio observes", "`vio doctor` shows which; try another build"
        )
    return ground, scope, plan


def _share_kb(cpu_count: int) -> int:
    """Share out the memory for trace buffers: three instances, each with a part for every CPU."""
    return min(max(_TRACE_MEMORY_KB // (3 * cpu_count), _LEAST_TRACE_KB), _MOST_TRACE_KB)
