"""Diagnose what can be recorded here: from what the host, a QEMU binary and the probe files say. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vio.layer import Layer
from vio.recorder.elf import Binary
from vio.recorder.firstinsn import InsnKind
from vio.recorder.generate import needs_buffer
from vio.recorder.host import HostFeatures, Trials
from vio.recorder.lacks import Lack, missing
from vio.recorder.probe import KERNEL_PROVIDERS, Point, Way
from vio.recorder.subject import Subject

# facts/speed.md 2a, an empty syscall tracepoint; the others were not measured alone
SYSCALL_COST_NS = 336
DEAR_NS = 5_000
_ARGUMENT = re.compile(r"\bargs->(\w+)")
_SYSTEM = "system"  # what a point needs that has no sense in qemu-img and its like
_NONE = Trials()
_MODULES = frozenset({"ext4", "jbd2", "xfs", "btrfs", "ocfs2"})


@dataclass(frozen=True, slots=True)
class PointCheck:
    """One point and whether it can be attached to this QEMU on this host.

    `attach` is the way that would be taken, or the best that is absent. `cost_ns` is the estimate for one hit before
    the record itself, None where it is not known. `why` says why it is absent or dear, `without` what a recording lacks
    without it. `is_wanted` is False for points of a device that this kind of QEMU has not.
    """

    name: str
    layer: Layer
    meaning: str
    attach: str
    is_attachable: bool
    is_wanted: bool = True
    cost_ns: int | None = None
    why: str = ""
    without: str = ""
    todo: str = ""
    is_inner: bool = False

    @property
    def is_dear(self) -> bool:
        """Whether one hit costs the VM as much as the rest of its records together."""
        return self.is_attachable and self.cost_ns is not None and self.cost_ns >= DEAR_NS


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `vio doctor` found."""

    host: HostFeatures
    trials: Trials
    subject: Subject | None
    points: tuple[PointCheck, ...]
    lacks: tuple[Lack, ...]

    @property
    def fatal(self) -> tuple[Lack, ...]:
        """What stands in the way of any recording."""
        return tuple(lack for lack in self.lacks if lack.is_fatal)

    @property
    def can_record(self) -> bool:
        """Whether `vio record` can be expected to work."""
        return not self.fatal

    @property
    def absent(self) -> tuple[PointCheck, ...]:
        """The points that a recording would miss."""
        return tuple(one for one in self.points if one.is_wanted and not one.is_attachable and not one.is_inner)


def diagnose(
    host: HostFeatures,
    points: Sequence[Point],
    subject: Subject | None,
    trials: Trials = _NONE,
) -> Diagnosis:
    """Put together what is there and what is missing, the fatal things first."""
    checks = tuple(check_point(point, host, subject) for point in points)
    lacks = (*missing(host, trials), *_machine_lacks(host), *_subject_lacks(subject, checks))
    return Diagnosis(host, trials, subject, checks, tuple(sorted(lacks, key=lambda lack: not lack.is_fatal)))


def lack_sentence(lack: Lack) -> str:
    """Say in one line what is missing, what follows, and what to do."""
    return f"{lack.what}: {lack.without}" + f"; {lack.todo}" * bool(lack.todo)


def dotted(version: tuple[int, ...]) -> str:
    """Write a version as people do; "" where none is known."""
    return ".".join(map(str, version))


def uprobe_symbols(points: Iterable[Point]) -> set[str]:
    """Return all functions of QEMU that the points name."""
    return {way.symbol for point in points for way in point.ways if way.provider == "uprobe"}


def check_point(point: Point, host: HostFeatures, subject: Subject | None) -> PointCheck:
    """Find the first of a point's ways that this host and this QEMU offer."""
    reasons: list[str] = []
    # the kernel's lists of functions are long: not looked at for a file system that is not there
    for way in point.ways if _has_module(point, host) else ():
        why = _why_not(way, host, subject)
        if not why:
            return _attachable(point, way, host, subject)
        reasons.append(why)
    return PointCheck(
        name=point.name,
        layer=point.layer,
        meaning=point.meaning,
        attach=point.ways[0].attach,
        is_attachable=False,
        is_wanted=_is_wanted(point, host, subject),
        why="; ".join(dict.fromkeys(reasons)),
        without=without_point(point),
        todo=_todo(point.ways[0], host, subject),
        is_inner=point.is_inner,
    )


def _attachable(point: Point, way: Way, host: HostFeatures, subject: Subject | None) -> PointCheck:
    cost_ns, why = _cost(way, host, subject.binary if subject else None)
    return PointCheck(
        name=point.name,
        layer=point.layer,
        meaning=point.meaning,
        attach=way.attach,
        is_attachable=True,
        is_wanted=_is_wanted(point, host, subject),
        cost_ns=cost_ns,
        why=why,
        is_inner=point.is_inner,
    )


def _is_wanted(point: Point, host: HostFeatures, subject: Subject | None) -> bool:
    is_of_system = point.needs != _SYSTEM or subject is None or subject.is_system
    is_of_qemu = not point.function or bool(subject and subject.binary and subject.binary.has(point.function))
    return is_of_system and is_of_qemu and _has_module(point, host)


def _has_module(point: Point, host: HostFeatures) -> bool:
    return not point.modules or bool(point.modules & host.kernel.modules)


def _why_not(way: Way, host: HostFeatures, subject: Subject | None) -> str:
    """Say why a way is closed, "" if it is open."""
    if way.provider == "tracepoint":
        if way.attach.removeprefix("tracepoint:") in host.tracepoints:
            return ""
        return "this kernel has no such tracepoint" if host.tracefs else "tracefs cannot be read"
    if way.provider in KERNEL_PROVIDERS:
        return _why_no_function(way, host)
    if not subject:
        return "no QEMU here"
    if not subject.binary:
        return subject.why
    if way.provider == "usdt":
        has_probe = any(probe.name == way.symbol for probe in subject.binary.usdt_probes)
        return "" if has_probe else "this QEMU has no such USDT probe"
    if not subject.binary.has(way.symbol):
        return "this QEMU does not export the function"
    if subject.binary.first_instruction(way.symbol, host.has_fast_nops).kind is InsnKind.REFUSED:
        return "the kernel refuses a uprobe on the function's first instruction"
    return ""


def _why_no_function(way: Way, host: HostFeatures) -> str:
    if way.provider in {"kprobe", "kretprobe"}:
        return host.kernel.why_not_kprobe(way.symbol, way.module)
    if why := host.kernel.why_not_fentry(way.symbol, way.module):
        return why
    found = host.kernel.find_btf(way.symbol, way.module)
    has = set(found[1].arguments) if found else set()
    missing = sorted(set(_ARGUMENT.findall(" ".join([way.predicate, *way.body]))) - has)
    return f"the kernel's {way.symbol} has no argument {', '.join(missing)}" if missing else ""


def _cost(way: Way, host: HostFeatures, binary: Binary | None) -> tuple[int | None, str]:
    if way.attach.startswith("tracepoint:syscalls:"):
        return SYSCALL_COST_NS, ""
    if way.provider != "uprobe" or not binary:
        return None, ""
    first = binary.first_instruction(way.symbol, host.has_fast_nops)
    return first.cost_ns, "" if first.is_cheap else f"first instruction is {first.kind}, not emulated"


def without_point(point: Point) -> str:
    """Say what a recording lacks without a point."""
    if any(needs_buffer(way) for way in point.ways):
        return "reports do not tell when QEMU's threads waited for a CPU, or to be woken"
    if any(way.attach.startswith("tracepoint:kvm:") for way in point.ways):
        return "reports do not tell when the guest took its interrupt"
    if point.role == "begin":
        return f"no {point.layer} span begins here: its time falls to the layer above"
    if point.role == "end":
        return f"no {point.layer} span ends here: IOs that pass it are not whole"
    return "this time stamp is missing from timelines"


def _todo(way: Way, host: HostFeatures, subject: Subject | None) -> str:
    if way.provider == "tracepoint":
        if not host.tracefs:
            return "mount it, and run vio as root"
        category = way.attach.split(":")[1]
        if category in _MODULES:
            return f"matters for images on {category} only: modprobe {category}"
        return "use a kernel that has it"
    if way.provider in KERNEL_PROVIDERS:
        return "use a kernel with kprobes, or with BTF and without lockdown"
    if subject and not subject.binary:
        return "run vio as root" if "ermission" in subject.why else "examine another binary with --binary"
    return "use a QEMU that exports its functions (built with modules or plugins), or one that is not stripped"


def _machine_lacks(host: HostFeatures) -> Iterator[Lack]:
    if host.machine != "x86_64":
        what = f"an x86-64 host (this is {host.machine})"
        yield Lack(what, "QEMU's structures and arguments are known for x86-64 only", "", is_fatal=True)


def _subject_lacks(subject: Subject | None, checks: Iterable[PointCheck]) -> Iterator[Lack]:
    if not subject:
        yield Lack(
            "QEMU",
            "there is nothing to record",
            "apt install qemu-system-x86 (or name a binary: --binary)",
            is_fatal=True,
        )
        return
    in_qemu = [check for check in checks if check.attach.startswith("uprobe:") and check.is_wanted]
    if in_qemu and not any(check.is_attachable for check in in_qemu):
        yield Lack(f"QEMU's functions ({in_qemu[0].why})", "no layer of QEMU", in_qemu[0].todo, is_fatal=True)
    if subject.pid is None or not subject.is_chosen:
        return
    blind = [disk for disk in subject.disks if not disk.followable]
    for disk in blind:
        yield Lack(f"disk {disk.name}", f"its IO is not followed to the host's device ({disk.why_not})", "")
    if len(blind) == len(subject.disks):
        what = "a disk that can be followed" if blind else "a disk"
        yield Lack(what, f"there is nothing to record in {subject.name}", "choose another VM", is_fatal=True)
