"""Which disks a command line promises: a device (or an export) on a chain of block nodes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from vio.recorder.cmdline import CommandLine, TargetKind
from vio.recorder.nodes import ImageChain, child_names, index_nodes, resolve, resolve_drive
from vio.recorder.optstring import Options, get_number, get_text

_MODELS = {
    "virtio-blk": "virtio-blk",
    "nvme": "nvme",
    "ide-": "ide",
    "usb-storage": "usb",
    "sd-card": "sd",
    "floppy": "floppy",
}
_SCSI = ("scsi-hd", "scsi-cd", "scsi-disk", "scsi-block", "scsi-generic")
_INTERFACE_MODELS = {"virtio": "virtio-blk", "xen": "xen-block"}
_UNITS_PER_BUS = {"ide": 2, "scsi": 7}
# What carries out the IO instead of QEMU's block layer (facts/probes.md 1.8).
_OUTSIDE = {
    "vhost-user-blk": "another process serves it (vhost-user-blk): QEMU sees none of its IO. If that is a "
    "qemu-storage-daemon, record it instead",
    "vhost-user-scsi": "another process serves it (vhost-user-scsi): QEMU sees none of its IO",
    "vhost-scsi": "the host's kernel serves it (vhost-scsi, the target of that wwpn in configfs): QEMU sees "
    "none of its IO. What is below that target shows on the host's devices, and belongs to no VM there",
    "vhost-vdpa-device": "a vDPA device serves it: neither QEMU nor the host's block layer sees its IO",
    "vfio-pci": "the guest owns the device (vfio-pci): neither QEMU nor the host's block layer sees its IO",
}


@dataclass(slots=True)
class DiskPlan:
    """One disk as the command line has it; `names` are all the words that a user may call it by."""

    name: str
    names: tuple[str, ...]
    device: str
    chain: ImageChain


def plan_disks(command: CommandLine, kind: TargetKind, default_interface: str = "ide") -> list[DiskPlan]:
    """List the disks of a command line: attached ones first, then exports, then what nothing uses."""
    nodes = index_nodes(command.blockdevs)
    drives = _named_drives(command, default_interface)
    used: set[str] = set(command.firmware_nodes)
    plans: list[DiskPlan] = []
    for number, device in enumerate(command.devices):
        if plan := _plan_device(device, number, command.devices, drives, nodes):
            plans.append(plan)
            used.add(get_text(device, "drive"))
    for export in command.exports:
        plans.append(_plan_export(export, nodes))
        used.add(get_text(export, "node-name"))
    plans += [
        _plan_drive(name, drive, kind, nodes, default_interface) for name, drive in drives.items() if name not in used
    ]
    plans += _plan_unused(command, nodes, used)
    return [plan for plan in plans if plan.chain.filename or plan.chain.why_not]


def _named_drives(command: CommandLine, default_interface: str) -> dict[str, Options]:
    """Name the drives as QEMU does (blockdev.c, drive_new): `virtio0`, `ide0-hd1`, `none0`."""
    drives: dict[str, Options] = {}
    taken: set[tuple[str, int]] = set()
    for drive in command.drives:
        interface = get_text(drive, "if") or default_interface
        if interface == "pflash":
            continue
        index = get_number(drive, "index") or get_number(drive, "unit") or 0
        while (interface, index) in taken:
            index += 1
        taken.add((interface, index))
        name = get_text(drive, "id") or _default_name(interface, index, get_text(drive, "media"))
        drives[name] = drive
    return drives


def _default_name(interface: str, index: int, media: str) -> str:
    per_bus = _UNITS_PER_BUS.get(interface, 0)
    if not per_bus:
        return f"{interface}{index}"
    kind = "cd" if media == "cdrom" else "hd"
    return f"{interface}{index // per_bus}-{kind}{index % per_bus}"


def _plan_device(
    device: Options,
    number: int,
    devices: list[Options],
    drives: Mapping[str, Options],
    nodes: Mapping[str, Options],
) -> DiskPlan | None:
    driver, identity, drive = (get_text(device, key) for key in ("driver", "id", "drive"))
    for outside, why_not in _OUTSIDE.items():
        if driver.startswith(outside):
            name = identity or f"{driver}#{number}"
            what = next((get_text(device, key) for key in ("host", "chardev", "wwpn") if key in device), "")
            return DiskPlan(name, _unique(name), outside, ImageChain(filename=what, why_not=why_not))
    if not drive or (drive not in drives and drive not in nodes):
        return None
    chain = resolve_drive(drives[drive], nodes) if drive in drives else resolve(nodes[drive], nodes)
    write_cache = get_text(device, "write-cache")
    if write_cache in {"on", "off"}:
        chain.is_writeback = write_cache == "on"
    names = _unique(identity, drive, *chain.node_names)
    return DiskPlan(names[0], names, _model(device, devices), chain)


def _model(device: Options, devices: list[Options]) -> str:
    driver = get_text(device, "driver")
    if driver in _SCSI:
        return f"{_controller_model(get_text(device, 'bus'), devices)}: {driver}"
    return next((model for prefix, model in _MODELS.items() if driver.startswith(prefix)), driver)


def _controller_model(bus: str, devices: list[Options]) -> str:
    """Name the controller that a SCSI disk sits on; without `bus=`, the first one there is."""
    controllers = {get_text(device, "id"): get_text(device, "driver") for device in devices}
    driver = controllers.get(bus.rsplit(".", 1)[0], "") if bus else ""
    if not driver:
        driver = next((name for name in controllers.values() if name.startswith("virtio-scsi")), "scsi")
    return "virtio-scsi" if driver.startswith("virtio-scsi") else driver


def _plan_export(export: Options, nodes: Mapping[str, Options]) -> DiskPlan:
    node = get_text(export, "node-name")
    chain = resolve(nodes.get(node, {}), nodes)
    names = _unique(get_text(export, "id"), get_text(export, "name"), node, *chain.node_names)
    return DiskPlan(names[0] if names else "export", names, f"{get_text(export, 'type')} export", chain)


def _plan_drive(
    name: str, drive: Options, kind: TargetKind, nodes: Mapping[str, Options], default_interface: str
) -> DiskPlan:
    chain = resolve_drive(drive, nodes)
    interface = get_text(drive, "if") or default_interface
    device = "" if interface == "none" else _INTERFACE_MODELS.get(interface, interface)
    if kind is not TargetKind.SYSTEM:
        device = "nbd export" if kind is TargetKind.NBD else ""
        name = get_text(drive, "id") or chain.filename.rsplit("/", 1)[-1] or name
    return DiskPlan(name, _unique(name, *chain.node_names), device, chain)


def _plan_unused(command: CommandLine, nodes: Mapping[str, Options], used: set[str]) -> list[DiskPlan]:
    children = set().union(*(child_names(options) for options in command.blockdevs))
    plans = []
    for options in command.blockdevs:
        name = get_text(options, "node-name")
        if name and name not in used and name not in children:
            chain = resolve(options, nodes)
            plans.append(DiskPlan(name, _unique(*chain.node_names), "", chain))
    return plans


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
