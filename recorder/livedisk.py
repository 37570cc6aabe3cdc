"""One disk of a running VM, opened for `vio map`; and its tables flushed, if the user asks for that."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from vio.errors import TargetError, UsageError
from vio.mappers.images import ImageSource
from vio.printable import printable
from vio.recorder.candidates import candidate_by_pid
from vio.recorder.disks import Disk
from vio.recorder.heldfiles import held_image
from vio.recorder.monitor import monitor_path
from vio.recorder.procfs import HostRoots
from vio.recorder.qmp import QmpUnavailable, command_human
from vio.recorder.target import Target, find_target, select_disks

_HOST = HostRoots()
_NAME = re.compile(r"[\w./:-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveDisk:
    """Which disk, and how to look at it: `disk` "" is the only one, `format` "" what QEMU says."""

    vm: str | None
    pid: int | None
    disk: str = ""
    format: str = ""
    snapshot: str = ""
    is_flushed: bool = False


@contextmanager
def opened_disk(wanted: LiveDisk, roots: HostRoots = _HOST) -> Iterator[ImageSource]:
    """Open a disk's image by QEMU's own descriptor; files that the image names, where QEMU has them open too.

    Raises:
        TargetError: There is no such VM or disk, its file is not open, or it cannot be flushed.
        UsageError: It has several disks, and none was chosen.
    """
    target = find_target(wanted.vm, wanted.pid, roots)
    disk = _chosen(target, wanted.disk)
    if disk.why_not or disk.fd is None:
        raise TargetError(f"the disk {printable(disk.name)} cannot be mapped: {disk.why_not or 'it is not open'}")
    if wanted.is_flushed:
        _flush(target, disk, roots)
    with ExitStack() as stack:
        try:
            image = stack.enter_context(held_image(disk, roots.process(target.pid)))
        except OSError as error:
            said = f"{printable(disk.path)} cannot be opened: {error.strerror}"
            raise TargetError(said, "run vio as root") from None
        yield replace(image.source, format=wanted.format or disk.format, snapshot=wanted.snapshot)


def _chosen(target: Target, name: str) -> Disk:
    disks = select_disks(target, [name] if name else [])
    if len(disks) > 1:
        known = ", ".join(printable(disk.name) for disk in disks)
        raise UsageError(f"{target.title} has several disks", f"--disk NAME chooses one of: {known}")
    return disks[0]


def _flush(target: Target, disk: Disk, roots: HostRoots) -> None:
    """Let QEMU flush the disk's node, which writes the tables out; the guest goes on meanwhile."""
    command = candidate_by_pid(target.pid, roots).command
    reasons = []
    for name in dict.fromkeys((*disk.node_names, *disk.names)):
        if not _NAME.fullmatch(name):
            continue
        for words in (f'qemu-io {name} "flush"', f'qemu-io -d {name} "flush"'):
            try:
                said = command_human(monitor_path(command, roots.process(target.pid)), words)
            except QmpUnavailable as error:
                raise TargetError(f"{printable(disk.name)} is not flushed: {error}", "leave --flush away") from None
            if not said.strip():
                return
            reasons.append(said.strip().splitlines()[0])
    raise TargetError(f"{printable(disk.name)} is not flushed: {printable('; '.join(reasons)[:200])}")
