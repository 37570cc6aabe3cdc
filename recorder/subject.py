"""Choose the QEMU that `vio doctor` examines: one that runs, a binary by its path, or one that is installed."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vio.errors import TargetError, UsageError
from vio.printable import printable
from vio.recorder.candidates import program_kind
from vio.recorder.cmdline import TargetKind
from vio.recorder.disks import Disk
from vio.recorder.elf import Binary, ElfError, read_binary
from vio.recorder.target import Target, find_target, list_targets
from vio.recorder.version import read_version

_INSTALLED = ("qemu-system-x86_64", "qemu-kvm", "qemu-img", "qemu-io", "qemu-storage-daemon", "qemu-nbd")
# not on the PATH where distributions keep it for libvirt alone
_LIBEXEC = Path("/usr/libexec/qemu-kvm")


@dataclass(frozen=True, slots=True)
class Subject:
    """A QEMU to examine; `binary` is None, and `why` says so, where it cannot be read.

    `pid` is None for a QEMU that does not run. `is_chosen`: the user named it.
    """

    path: str
    kind: TargetKind
    binary: Binary | None
    version: str = ""
    name: str = ""
    pid: int | None = None
    disks: tuple[Disk, ...] = ()
    is_chosen: bool = False
    why: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_system(self) -> bool:
        """Whether it emulates a whole machine, with devices above the block layer."""
        return self.kind is TargetKind.SYSTEM


def find_subject(name: str | None, pid: int | None, binary: Path | None, symbols: Iterable[str]) -> Subject | None:
    """Return the QEMU that was named; with nothing named the first with any of `symbols`; None if there is none.

    Raises:
        TargetError: what was named is not there, or is no binary.
        UsageError: more than one thing was named.
    """
    if binary is not None:
        if name is not None or pid is not None:
            raise UsageError("a binary and a VM were both given", "give one of them")
        return _of_file(binary)
    if name is not None or pid is not None:
        return _of_target(find_target(name, pid, with_qmp=False), is_chosen=True)
    wanted = set(symbols)
    first = None
    for subject in _unnamed():
        if subject.binary and wanted & subject.binary.functions.keys():
            return subject
        first = first or subject
    return first


def _unnamed() -> Iterator[Subject]:
    running = sorted(list_targets(with_qmp=False), key=lambda target: target.kind is not TargetKind.SYSTEM)
    notes = (f"{len(running)} QEMU processes run; --vm or --pid chooses another",) if len(running) > 1 else ()
    for target in running:
        yield _of_target(target, is_chosen=False, notes=notes)
    for program in _INSTALLED:
        if place := shutil.which(program):
            yield _installed(Path(place))
    if _LIBEXEC.exists():
        yield _installed(_LIBEXEC)


def _installed(place: Path) -> Subject:
    # Debian's `kvm` and others are links or scripts: what would run is what counts
    real = place.resolve()
    binary, why = _read(real)
    kind = program_kind(real.name) or program_kind(place.name) or TargetKind.SYSTEM
    return Subject(str(real), kind, binary, read_version(real), why=why)


def _of_file(path: Path) -> Subject:
    binary, why = _read(path)
    if not binary:
        raise TargetError(printable(why), "give the path of a QEMU binary")
    kind = program_kind(path.resolve().name) or _guessed_kind(binary)
    return Subject(str(path), kind, binary, read_version(path), is_chosen=True)


def _guessed_kind(binary: Binary) -> TargetKind:
    """Tell from its functions what a binary of another name is: only a system emulator has virtqueues to push to."""
    return TargetKind.SYSTEM if binary.has("virtqueue_push") else TargetKind.IMG


def _of_target(target: Target, is_chosen: bool, notes: tuple[str, ...] = ()) -> Subject:
    binary, why = _read(target.exe_link)
    version = target.version
    if not binary and not target.is_exe_deleted and target.exe.startswith("/"):
        # without root another user's /proc/PID/exe is closed, the file itself is not
        binary, why = _read(Path(target.exe))
        version = version or read_version(Path(target.exe))
    return Subject(
        path=target.exe,
        kind=target.kind,
        binary=binary,
        version=version,
        name=target.name,
        pid=target.pid,
        disks=target.disks,
        is_chosen=is_chosen,
        why=why,
        notes=(*notes, *target.notes),
    )


def _read(path: Path) -> tuple[Binary | None, str]:
    try:
        return read_binary(path), ""
    except ElfError as error:
        return None, str(error)
