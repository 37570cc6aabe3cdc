"""Find the processes that are QEMU: cheaply, before anything costly is read about one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vio.errors import TargetError
from vio.printable import printable
from vio.recorder.cmdline import CommandLine, TargetKind, parse_storage_daemon, parse_system
from vio.recorder.procfs import HostRoots, is_zombie, process_ids, read_argv, read_comm, read_executable
from vio.recorder.toolargs import parse_tool

_TOOLS = {
    "qemu-img": TargetKind.IMG,
    "qemu-io": TargetKind.IO,
    "qemu-storage-daemon": TargetKind.STORAGE_DAEMON,
    "qemu-nbd": TargetKind.NBD,
    "qemu-kvm": TargetKind.SYSTEM,
    "kvm": TargetKind.SYSTEM,
}
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A process that is QEMU; `program` is its binary's file name."""

    pid: int
    kind: TargetKind
    name: str
    exe: str
    is_exe_deleted: bool
    program: str
    command: CommandLine = field(repr=False)


def candidates(roots: HostRoots) -> Iterator[Candidate]:
    """Find every running QEMU process, by pid."""
    for pid in process_ids(roots):
        try:
            candidate = _candidate(pid, roots)
        except (*GONE, PermissionError):
            continue
        if candidate:
            yield candidate


def _candidate(pid: int, roots: HostRoots) -> Candidate | None:
    process = roots.process(pid)
    argv = read_argv(process)
    if not argv:
        return None
    try:
        exe, is_deleted = read_executable(process)
    except PermissionError:
        # another user's process: its arguments are public, its binary's path is not
        exe, is_deleted = argv[0], False
    program = exe.rsplit("/", 1)[-1]
    kind = program_kind(program)
    if not kind:
        return None
    command = parse_command(kind, argv)
    return Candidate(pid, kind, command.guest_name or read_comm(process), exe, is_deleted, program, command)


def program_kind(program: str) -> TargetKind | None:
    """Tell which of QEMU's programs has this file name; None if it is none of them."""
    if program.startswith("qemu-system-"):
        return TargetKind.SYSTEM
    return _TOOLS.get(program)


def parse_command(kind: TargetKind, argv: list[str]) -> CommandLine:
    """Read a command line by the rules of the program it belongs to."""
    if kind is TargetKind.SYSTEM:
        return parse_system(argv)
    if kind is TargetKind.STORAGE_DAEMON:
        return parse_storage_daemon(argv)
    return parse_tool(kind, argv)


def candidate_by_pid(pid: int, roots: HostRoots) -> Candidate:
    """Return the QEMU process with this pid.

    Raises:
        TargetError: it is not QEMU, does not exist, or may not be read.
    """
    process = roots.process(pid)
    try:
        candidate = _candidate(pid, roots)
        comm = read_comm(process)
    except GONE:
        raise TargetError(f"there is no process {pid}", "`vio list` shows what is running") from None
    except PermissionError:
        raise TargetError(f"reading process {pid} is not permitted", "run vio as root") from None
    if not candidate:
        what = "has ended" if is_zombie(process) else "is not QEMU"
        raise TargetError(f"process {pid} ({printable(comm)}) {what}", "`vio list` shows what is running")
    return candidate


def candidate_by_name(name: str | None, roots: HostRoots) -> Candidate:
    """Return the QEMU process of that name; with None, the only one that runs.

    Raises:
        TargetError: there is none, or more than one.
    """
    running = list(candidates(roots))
    matching = [candidate for candidate in running if name in {None, candidate.name}]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(f"{printable(candidate.name)} (pid {candidate.pid})" for candidate in running)
    if name is None:
        problem = "more than one QEMU process is running" if running else "no QEMU process is running"
        raise TargetError(problem, f"choose with --vm or --pid: {known}" if running else "start the VM first")
    if matching:
        pids = ", ".join(str(candidate.pid) for candidate in matching)
        raise TargetError(f"{len(matching)} VMs are called {printable(name)}: pids {pids}", "choose with --pid")
    raise TargetError(f"no VM is called {printable(name)}", f"running: {known or 'no QEMU process'}")
