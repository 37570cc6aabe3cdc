"""Choose for each point the way that this host and this QEMU offer, and say what is absent. Pure but for tracefs."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from vio.errors import UsageError
from vio.layer import Layer
from vio.manifest import AbsentPoint, PointInfo
from vio.mappers.hostfs.filesystem import NAMES
from vio.recorder.doctor import PointCheck, check_point, without_point
from vio.recorder.generate import Chosen, Scope, applies, needs_buffer
from vio.recorder.host import HostFeatures
from vio.recorder.kernelfn import KernelFunctions
from vio.recorder.layout import qemu_layout
from vio.recorder.probe import Point, Way
from vio.recorder.subject import Subject
from vio.recorder.tracefs import tracepoint_fields

_ARGUMENT = re.compile(r"\bargs->(\w+)")
_ADDRESS = re.compile(r"\bADDRESS\((\w+)\)")
_FILE_SYSTEMS = frozenset(NAMES.values())
MOST_POINTS = 255


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be observed, by number, and what will not; `costs_ns` is the estimate of one hit by point name."""

    chosen: tuple[Chosen, ...]
    absent: tuple[AbsentPoint, ...]
    costs_ns: dict[str, int]

    def point_infos(self, binary: str) -> tuple[PointInfo, ...]:
        """Describe the chosen points for the manifest."""
        return tuple(
            PointInfo(
                number=one.number,
                name=one.point.name,
                layer=one.point.layer,
                role=one.point.role,
                meaning=one.point.meaning,
                fields=one.point.fields,
                attach=one.way.attach.replace("QEMU", binary, 1),
                is_rare=one.point.is_rare,
                cost_ns=self.costs_ns.get(one.point.name),
                part=one.point.part,
                join=one.point.join,
                same_as=one.point.same_as,
            )
            for one in self.chosen
        )

    def layers(self) -> dict[int, Layer]:
        """Return each point's layer by its number; the scheduler's events are of none."""
        return {one.number: one.point.layer for one in self.chosen if not needs_buffer(one.way)}


def make_plan(
    points: Sequence[Point],
    host: HostFeatures,
    subject: Subject,
    scope: Scope,
    opened: Collection[Layer] = (),
) -> Plan:
    """Choose the ways and number the points; a point of a device that the target has not is neither here nor there.

    Inner points are chosen in the layers that are `opened`.

    Raises:
        UsageError: there are more points than a recording can number.
    """
    chosen: list[Chosen] = []
    absent: list[AbsentPoint] = []
    costs_ns: dict[str, int] = {}
    for point in points:
        # looked at only where it is wanted: the kernel's lists of functions are long
        if point.is_inner and point.layer not in opened:
            continue
        if _is_of_other_file_systems(point, scope):
            continue
        check = check_point(point, host, subject)
        if not check.is_wanted:
            continue
        way = next((way for way in point.ways if way.attach == check.attach), point.ways[0])
        why = check.why if not check.is_attachable else _why_not(way, host, scope)
        if why:
            absent.append(AbsentPoint(point.name, point.layer, why, check.without or _without(point, check)))
            continue
        chosen.append(Chosen(len(chosen) + 1, point, with_addresses(way, host.kernel)))
        if check.cost_ns is not None:
            costs_ns[point.name] = check.cost_ns
    if len(chosen) > MOST_POINTS:
        raise UsageError(f"{len(chosen)} points are too many", f"{MOST_POINTS} is the most: open fewer layers")
    return Plan(tuple(chosen), tuple(absent), costs_ns)


def with_addresses(way: Way, kernel: KernelFunctions) -> Way:
    """Put the addresses of the kernel's functions into a way, which names them: `ADDRESS(aio_fsync_work)`."""
    if not (named := _ADDRESS.findall(way.predicate)):
        return way  # the kernel's names are many: not read for nothing
    addresses = {name: f"(uint64){kernel.symbols[name]:#x}" for name in named}
    return replace(way, predicate=_ADDRESS.sub(lambda found: addresses[found[1]], way.predicate))


def without_buffer(plan: Plan) -> Plan:
    """Return the plan without the points that only the kernel's trace buffer takes; they are absent then."""
    gone = [one for one in plan.chosen if needs_buffer(one.way)]
    why = "only the kernel's trace buffer takes it, and there is none"
    absent = [AbsentPoint(one.point.name, one.point.layer, why, without_point(one.point)) for one in gone]
    return replace(
        plan,
        chosen=tuple(one for one in plan.chosen if one not in gone),
        absent=(*plan.absent, *absent),
    )


def constants_of(subject: Subject) -> dict[str, str]:
    """Return what the names in the `.bt` files stand for in this QEMU."""
    return qemu_layout(set(subject.binary.functions) if subject.binary else set())


def _is_of_other_file_systems(point: Point, scope: Scope) -> bool:
    """Tell whether a shipped point is of file systems alone that no disk is on: bpftrace takes its time for each."""
    of = point.modules or {way.attach.split(":")[1] for way in point.ways}
    if scope.file_systems is None or not point.is_shipped:
        return False
    return of <= _FILE_SYSTEMS and not of & scope.file_systems


def _why_not(way: Way, host: HostFeatures, scope: Scope) -> str:
    if not applies(way, scope):
        return "no host device or file of this target is known"
    hidden = [name for name in _ADDRESS.findall(way.predicate) if not host.kernel.symbols.get(name)]
    if hidden:
        return f"the kernel does not say where its function {hidden[0]} is"
    if way.provider != "tracepoint" or host.tracefs is None:
        return ""
    category, name = way.attach.split(":")[1:3]
    has = tracepoint_fields(host.tracefs, category, name).keys()
    text = " ".join((way.predicate, *way.body))
    wanted = {*_ARGUMENT.findall(text), *(["rwbs"] if "RWBS_OP" in way.body else [])}
    missing = sorted(wanted - has) if has else []
    return f"this kernel's tracepoint has no field {', '.join(missing)}" if missing else ""


def _without(point: Point, check: PointCheck) -> str:
    return check.without or f"no {point.layer} times from {point.name}"
