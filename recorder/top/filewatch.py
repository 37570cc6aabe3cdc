"""Watch who reads and writes which files: all processes, or one."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from vio.errors import HostError, TargetError, VioError
from vio.recorder.candidates import candidate_by_pid
from vio.recorder.clock import boottime_ns
from vio.recorder.procfs import FileIdentity, HostRoots, identity_of, read_comm
from vio.recorder.target import find_target
from vio.recorder.top.filefigures import FileFrame, OpenedAs, file_frame
from vio.recorder.top.fileform import CALLS, generate_files
from vio.recorder.top.snapshot import Snapshot
from vio.recorder.top.ticks import Ticks, able_host
from vio.recorder.top.watch import full_maps
from vio.recorder.top.whose import container_of

_ENTER = "syscalls:sys_enter_"


@dataclass(slots=True)
class Descriptors:
    """What descriptors of processes are, asked of /proc; what is closed by then keeps no name."""

    roots: HostRoots = field(default_factory=HostRoots)
    _virtual: dict[int, tuple[str, dict[FileIdentity, str]]] = field(default_factory=dict)

    def look(self, pid: int, descriptor: int) -> OpenedAs | None:
        """Say what a descriptor is; None if it is no file."""
        process = self.roots.process(pid)
        link = process / "fd" / str(descriptor)
        try:
            name = read_comm(process)
        except OSError:
            return OpenedAs("", "", "")
        try:
            status, path = link.stat(), str(link.readlink())
        except OSError:
            return OpenedAs(name, container_of(process), "")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            return None
        vm, disks = self._machine(pid)
        return OpenedAs(name, container_of(process), path, vm, disks.get(identity_of(status), ""))

    def _machine(self, pid: int) -> tuple[str, dict[FileIdentity, str]]:
        """Name the VM that a process is, and its disks by their files; no name for what is no QEMU."""
        if pid not in self._virtual:
            try:
                candidate_by_pid(pid, self.roots)
                target = find_target(pid=pid, roots=self.roots, with_qmp=False)
                files = {file.fd: file.identity for file in target.files}
                disks = {files[fd]: disk.name for disk in target.disks for fd in disk.fds if fd in files}
                self._virtual[pid] = target.name, disks
            except (VioError, OSError):
                self._virtual[pid] = "", {}
        return self._virtual[pid]


@dataclass(frozen=True, slots=True)
class FileWatchOptions:
    """Whom to watch (None: all processes), and how."""

    pid: int | None = None
    interval_s: float = 1.0
    count: int = 0


@contextmanager
def watching_files(options: FileWatchOptions) -> Iterator[Iterator[FileFrame]]:
    """Start to watch, and wait until the probes are attached; give the figures.

    Leaving the context takes the probes away.

    Raises:
        HostError: this host cannot trace, or lacks the tracepoints of system calls.
        TargetError: there is no such process.
        KeyboardInterrupt: the user does not want to any more.
    """
    host = able_host()
    calls = [name.removeprefix(_ENTER) for name in host.tracepoints if name.startswith(_ENTER)]
    if not set(calls) & set(CALLS):
        raise HostError("this kernel has no tracepoints of system calls", "CONFIG_FTRACE_SYSCALLS gives them")
    if options.pid is not None and not HostRoots().process(options.pid).exists():
        raise TargetError(f"there is no process {options.pid}", "`ps -e` shows which there are")
    program = generate_files(calls, round(options.interval_s * 1000), options.pid, os.getpid())
    with ExitStack() as stack:
        ticks = Ticks(program, host, options.pid, stack)
        ticks.wait_ready()
        yield _frames(ticks, options)


def _frames(ticks: Ticks, options: FileWatchOptions) -> Iterator[FileFrame]:
    known = Descriptors()

    def look(pid: int, descriptor: int) -> OpenedAs | None:
        return None if pid == ticks.tracer_pid else known.look(pid, descriptor)

    before, shown = Snapshot(boottime_ns()), 0
    for now in ticks.snapshots(options.interval_s):
        figures = file_frame(before, now, look)
        yield replace(figures, notes=tuple(full_maps(now)))
        before, shown = now, shown + 1
        if shown == options.count:
            return
