"""Find running QEMU processes and describe one: its threads, disks, files and monitor."""

from dataclasses import dataclass
from pathlib import Path

from vio.errors import TargetError, UsageError
from vio.printable import printable
from vio.recorder.candidates import GONE, Candidate, candidate_by_name, candidate_by_pid, candidates
from vio.recorder.cmdline import TargetKind
from vio.recorder.diskplan import plan_disks
from vio.recorder.disks import Disk, find_disks
from vio.recorder.imagefile import ProcessFiles
from vio.recorder.monitor import ask_process
from vio.recorder.procfs import (
    HostRoots,
    OpenFile,
    Thread,
    read_mounts,
    read_open_files,
    read_start_ticks,
    read_threads,
    ticks_to_ns,
)
from vio.recorder.qmp import QmpFacts, QmpUnavailable
from vio.recorder.version import read_version

_HOST = HostRoots()
_NO_DISK_HINT = "`vio list` shows VMs and their disks"


@dataclass(frozen=True, slots=True)
class Target:
    """A QEMU process.

    `exe` is the binary's path as the process's own name space has it; probes go to `exe_link`, which
    is the very file even if that path has been replaced. `started_ns` is CLOCK_BOOTTIME. `files` are
    all regular files and block devices that it has open: disks, their backing files, firmware, logs.
    """

    pid: int
    kind: TargetKind
    name: str
    exe: str
    is_exe_deleted: bool
    exe_link: Path
    version: str
    started_ns: int
    threads: tuple[Thread, ...] = ()
    disks: tuple[Disk, ...] = ()
    files: tuple[OpenFile, ...] = ()
    iothreads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name and pid, safe to show; a command that vio has not started yet has no pid (0)."""
        return f"{printable(self.name)} (pid {self.pid})" if self.pid else f"the command {printable(self.name)}"


def list_targets(roots: HostRoots = _HOST, with_qmp: bool = True) -> list[Target]:
    """Describe all running QEMU processes, by pid; one that cannot be read says so in its notes."""
    found = []
    for candidate in candidates(roots):
        try:
            found.append(_describe(candidate, roots, with_qmp))
        except PermissionError:
            found.append(_describe_from_outside(candidate, roots))
        except GONE:
            continue
    return found


def find_target(
    name: str | None = None, pid: int | None = None, roots: HostRoots = _HOST, with_qmp: bool = True
) -> Target:
    """Find one QEMU process by its VM's name or its pid; with neither, the only one that runs.

    Raises:
        TargetError: there is none, more than one, it is not QEMU, has ended, or may not be read.
        UsageError: both a name and a pid were given.
    """
    if name is not None and pid is not None:
        raise UsageError("a VM's name and a pid were both given", "give one of them")
    candidate = candidate_by_pid(pid, roots) if pid is not None else candidate_by_name(name, roots)
    who = f"{printable(candidate.name)} (pid {candidate.pid})"
    try:
        return _describe(candidate, roots, with_qmp)
    except PermissionError as error:
        raise TargetError(f"{who}: reading {error.filename} is not permitted", "run vio as root") from None
    except GONE:
        raise TargetError(f"{who} has ended", "`vio list` shows what is running") from None


def select_disks(target: Target, names: list[str]) -> tuple[Disk, ...]:
    """Return the disks to record: those named, or every one that can be followed.

    Raises:
        TargetError: no disk has that name, or none can be followed.
    """
    if names:
        return tuple(_disk_by_name(target, name) for name in names)
    followable = tuple(disk for disk in target.disks if disk.followable)
    if not followable:
        reasons = "; ".join(f"{printable(disk.name)}: {disk.why_not}" for disk in target.disks)
        what = "has no disk that can be followed" if target.disks else "has no disk"
        raise TargetError(f"{target.title} {what}", reasons or _NO_DISK_HINT)
    return followable


def _disk_by_name(target: Target, name: str) -> Disk:
    for disk in target.disks:
        if name in {disk.name, *disk.names, disk.path}:
            return disk
    known = ", ".join(printable(disk.name) for disk in target.disks) or "none"
    raise TargetError(f"{target.title} has no disk {printable(name)}", f"its disks: {known}")


def _describe(candidate: Candidate, roots: HostRoots, with_qmp: bool) -> Target:
    process, command = roots.process(candidate.pid), candidate.command
    # first what fails without permission: half a description would look like a whole one
    files = read_open_files(process)
    facts, notes = _ask(candidate, process) if with_qmp else (QmpFacts(), [])
    where = ProcessFiles(process, files, read_mounts(process), roots, command.fd_sets)
    plans = plan_disks(command, candidate.kind, _default_interface(candidate.program))
    disks = find_disks(plans, facts.blocks, where)
    if command.snapshot:
        notes.append("it runs with -snapshot: writes go to temporary overlays, not to these files")
    return Target(
        pid=candidate.pid,
        kind=candidate.kind,
        name=candidate.name,
        exe=candidate.exe,
        is_exe_deleted=candidate.is_exe_deleted,
        exe_link=process / "exe",
        version=facts.version or read_version(process / "exe"),
        started_ns=ticks_to_ns(read_start_ticks(process)),
        threads=tuple(_with_iothreads(read_threads(process), dict(facts.iothreads))),
        disks=tuple(disks),
        files=tuple(files),
        iothreads=tuple(command.iothreads),
        notes=(*command.notes, *notes),
    )


def _describe_from_outside(candidate: Candidate, roots: HostRoots) -> Target:
    process = roots.process(candidate.pid)
    return Target(
        pid=candidate.pid,
        kind=candidate.kind,
        name=candidate.name,
        exe=candidate.exe,
        is_exe_deleted=candidate.is_exe_deleted,
        exe_link=process / "exe",
        version="",
        started_ns=ticks_to_ns(read_start_ticks(process)),
        iothreads=tuple(candidate.command.iothreads),
        notes=(*candidate.command.notes, "its open files may not be read: run vio as root to see its disks"),
    )


def _ask(candidate: Candidate, process: Path) -> tuple[QmpFacts, list[str]]:
    if candidate.kind not in {TargetKind.SYSTEM, TargetKind.STORAGE_DAEMON}:
        return QmpFacts(), []
    try:
        return ask_process(candidate.command, process), []
    except QmpUnavailable as error:
        return QmpFacts(), [f"not asked through QMP: {error}"]


def _with_iothreads(threads: list[Thread], by_id: dict[str, int]) -> list[Thread]:
    roles = {tid: f"iothread:{name}" for name, tid in by_id.items()}
    return [Thread(thread.tid, thread.comm, roles.get(thread.tid, thread.role)) for thread in threads]


def _default_interface(program: str) -> str:
    """Return where a `-drive` without `if=` goes; IDE on a PC, virtio on most other machines."""
    is_pc = program.removeprefix("qemu-system-").startswith(("x86", "i386", "qemu-kvm", "kvm"))
    return "ide" if is_pc else "virtio"


def is_running(target: Target, roots: HostRoots = _HOST) -> bool:
    """Say whether this very process still runs (and not another one under its pid)."""
    try:
        started_ns = ticks_to_ns(read_start_ticks(roots.process(target.pid)))
    except (OSError, ValueError):
        return False
    return started_ns == target.started_ns
