"""What to record: a QEMU that runs, or one that vio starts and holds back until the probes are attached."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vio.errors import TargetError
from vio.printable import printable
from vio.recorder.candidates import parse_command, program_kind
from vio.recorder.cmdline import CommandLine
from vio.recorder.diskplan import DiskPlan, plan_disks
from vio.recorder.disks import Disk, find_disks
from vio.recorder.elf import ElfError, read_binary
from vio.recorder.imagechain import NOT_FOLLOWED
from vio.recorder.imagefile import ProcessFiles
from vio.recorder.nodes import ImageChain
from vio.recorder.procfs import HostRoots, read_mounts, read_open_files
from vio.recorder.subject import Subject
from vio.recorder.target import Target, find_target, select_disks
from vio.recorder.version import read_version

_KNOWN = "qemu-system-*, qemu-img, qemu-io, qemu-nbd or qemu-storage-daemon"
OUTPUT_FILES = ("stdout.txt", "stderr.txt")
# Waits for one byte, and becomes the command; without the byte (vio has died) it ends. Python ignores SIGPIPE and
# catches SIGINT; the command must not inherit that.
_WAIT_AND_EXEC = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
gate, path, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
if not os.read(gate, 1):
    os._exit(127)
os.close(gate)
try:
    os.execv(path, words)
except OSError as error:
    print(f"vio: {path}: {error.strerror}", file=sys.stderr)
    os._exit(126)
"""


@dataclass(frozen=True, slots=True)
class Aim:
    """The process and the disks to record; `binary` is the path that uprobes are put on."""

    target: Target
    disks: tuple[Disk, ...]
    binary: str
    subject: Subject
    command: "Command | None" = None


class Command:
    """A command that vio starts; it waits until `go`. What it prints goes to files in `output`, if that is given."""

    def __init__(self, path: str, words: Sequence[str], output: Path | None = None) -> None:
        self.words = tuple(words)
        waiting, self._gate = os.pipe()
        try:
            with contextlib.ExitStack() as stack:
                out, err = (
                    stack.enter_context((output / name).open("wb")) if output else None for name in OUTPUT_FILES
                )
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _WAIT_AND_EXEC, str(waiting), path, *words],
                    pass_fds=(waiting,),
                    stdin=subprocess.DEVNULL if output else None,
                    stdout=out,
                    stderr=err,
                )
        except BaseException:
            os.close(self._gate)
            raise
        finally:
            os.close(waiting)
        self.pid = self._process.pid

    def go(self) -> None:
        """Let it run."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, b"g")

    def exit_code(self, timeout_s: float = 0.0) -> int | None:
        """Return how it ended, as a shell would have it; None if it still runs."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return 128 - status if status < 0 else status

    def close(self) -> None:
        """Let go of it: one that has not begun ends, one that runs runs on."""
        os.close(self._gate)
        if self._process.returncode is None:
            # no longer our child to wait for, as far as subprocess warns of it
            self._process.returncode = self._process.poll() or 0


@contextmanager
def aim(
    name: str | None, pid: int | None, command: Sequence[str], disks: Sequence[str], output: Path | None = None
) -> Iterator[Aim]:
    """Find the target, or start the command that becomes it, with what it prints going to `output`.

    Raises:
        TargetError: it is not there, is not QEMU, or has no disk that can be followed.
    """
    if command:
        with _aim_at_command(command, disks, output) as found:
            yield found
        return
    target = find_target(name, pid)
    chosen = select_disks(target, list(disks))
    yield Aim(target, chosen, str(target.exe_link), _subject_of(target))


@contextmanager
def _aim_at_command(words: Sequence[str], disks: Sequence[str], output: Path | None) -> Iterator[Aim]:
    place = shutil.which(words[0])
    if place is None:
        raise TargetError(f"there is no command {printable(words[0])}", "give its path")
    path = str(Path(place).resolve())
    kind = program_kind(Path(path).name) or program_kind(Path(place).name)
    if kind is None:
        raise TargetError(f"{printable(words[0])} is not QEMU", f"the command must be {_KNOWN} itself, not a script")
    line = parse_command(kind, list(words))
    plans = plan_disks(line, kind)
    with _opened(plans) as fds:
        target = Target(
            pid=0,
            kind=kind,
            name=line.guest_name or Path(place).name,
            exe=path,
            is_exe_deleted=False,
            exe_link=Path(path),
            version=read_version(Path(path)),
            started_ns=0,
            disks=tuple(_disks_of(plans, line, fds)),
            notes=tuple(line.notes),
        )
        chosen = tuple(_without_descriptors(disk) for disk in select_disks(target, list(disks)))
        subject = _subject_of(target)
        child = Command(path, words, output)
        try:
            yield Aim(replace(target, pid=child.pid), chosen, path, subject, child)
        finally:
            child.close()


@contextmanager
def _opened(plans: Sequence[DiskPlan]) -> Iterator[set[int]]:
    """Open the images of a command that does not run yet, as it would: what it will have open is looked at here."""
    fds: set[int] = set()
    try:
        for chain in (one for plan in plans for one in _named_files(plan.chain)):
            direct = os.O_DIRECT if chain.is_direct else 0
            with contextlib.suppress(OSError, ValueError):
                fds.add(os.open(chain.filename, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | direct))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def _named_files(chain: ImageChain | None) -> Iterator[ImageChain]:
    """Yield the files of an image that the command itself names; what only a header names is not opened."""
    if chain:
        yield chain
        yield from _named_files(chain.data_file)
        yield from _named_files(chain.backing)


def _disks_of(plans: Sequence[DiskPlan], line: CommandLine, fds: set[int]) -> Iterator[Disk]:
    roots = HostRoots()
    process = roots.proc / "self"
    files = [file for file in read_open_files(process) if file.fd in fds]
    where = ProcessFiles(process, files, read_mounts(process), roots, line.fd_sets)
    for disk in find_disks(plans, (), where):
        # what it says of the open file is of our opening, not of QEMU's
        notes = tuple(note for note in disk.notes if note.endswith(NOT_FOLLOWED))
        yield replace(disk, notes=notes, why_not=disk.why_not and _why_not(disk))


def _without_descriptors(disk: Disk) -> Disk:
    """Forget our own descriptors: those of the command come with it."""
    chain = tuple(replace(file, fds=()) for file in disk.chain)
    return replace(disk, fd=None, fds=(), chain=chain)


def _why_not(disk: Disk) -> str:
    return f"there is no file {printable(disk.path)} yet" if "open" in disk.why_not else disk.why_not


def _subject_of(target: Target) -> Subject:
    try:
        binary = read_binary(target.exe_link)
    except ElfError as error:
        raise TargetError(f"{printable(target.exe)} cannot be examined: {error}", "run vio as root") from None
    return Subject(
        path=target.exe,
        kind=target.kind,
        binary=binary,
        version=target.version,
        name=target.name,
        pid=target.pid,
        disks=target.disks,
        is_chosen=True,
    )
