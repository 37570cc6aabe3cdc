"""What `vio list` shows: the running VMs and their disks."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from vio.printable import printable
from vio.recorder.disks import Disk
from vio.recorder.storage import HostDevice
from vio.recorder.target import Target

_COLUMNS = ("VM", "pid", "QEMU", "disk", "on", "format", "file", "cache", "aio", "host device")


def targets_table(targets: list[Target]) -> Table:
    """Draw one row for each disk; names from outside are shown as they are, never obeyed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold", justify="right" if column == "pid" else "left")
    for target in targets:
        rows = [_disk_cells(disk) for disk in target.disks] or [["-"] * 7]
        who = [target.name, str(target.pid), _version(target)]
        for number, cells in enumerate(rows):
            shown = [*(who if number == 0 else ["", "", ""]), *cells]
            # Text, not str: a name with [brackets] is no markup
            table.add_row(*(Text(printable(cell)) for cell in shown))
    return table


def targets_notes(targets: list[Target]) -> list[str]:
    """Return what has to be said below the table, one line each."""
    lines = []
    for target in targets:
        who = printable(f"{target.name} (pid {target.pid})")
        lines += [f"{who}: {printable(note)}" for note in target.notes]
        for disk in target.disks:
            what = printable(f"{who}, {disk.name}")
            lines += [f"{what}: not followed: {printable(disk.why_not)}"] if disk.why_not else []
            lines += [f"{what}: {printable(note)}" for note in disk.notes]
    return lines


def targets_json(targets: list[Target]) -> list[dict[str, object]]:
    """Return the targets as plain objects for `--json`; text is as found, JSON escapes it."""
    return [_target_object(target) for target in targets]


def _version(target: Target) -> str:
    version = target.version.split(" ")[0] or "?"
    return version if target.kind == "system" else f"{version} {target.kind}"


def _disk_cells(disk: Disk) -> list[str]:
    cells = [disk.name, disk.model or "-", disk.format or "?", disk.path or "-"]
    if disk.why_not:
        return [*cells, "-", "-", "not followed"]
    return [*cells, disk.cache, disk.aio, _below(disk.below)]


def _below(below: HostDevice | None) -> str:
    if not below:
        return "?"
    name = below.name or below.fs_type or f"{below.major}:{below.minor}"
    return f"{name} ({below.fs_type} on {below.mount_point})" if below.mount_point and below.name else name


def _target_object(target: Target) -> dict[str, object]:
    return {
        "name": target.name,
        "pid": target.pid,
        "kind": str(target.kind),
        "exe": target.exe,
        "is_exe_deleted": target.is_exe_deleted,
        "version": target.version,
        "started_ns": target.started_ns,
        "threads": [{"tid": thread.tid, "comm": thread.comm, "role": thread.role} for thread in target.threads],
        "iothreads": list(target.iothreads),
        "disks": [_disk_object(disk) for disk in target.disks],
        "notes": list(target.notes),
    }


def _disk_object(disk: Disk) -> dict[str, object]:
    fields = {name: _plain(getattr(disk, name)) for name in Disk.__slots__}
    return fields | {
        "followable": disk.followable,
        "seen_layers": [str(layer) for layer in disk.seen_layers],
    }


def _plain(value: object) -> object:
    if isinstance(value, HostDevice):
        return {name: getattr(value, name) for name in HostDevice.__slots__}
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
