"""What a QEMU system emulator's (or storage daemon's) command line says about disks and monitors.

Pure: arguments in, a `CommandLine` out. Nothing here is believed before it was compared with the
files that the process has open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vio.recorder.optstring import Options, get_number, get_text, nest, parse_options, split_pairs


class TargetKind(StrEnum):
    """Which of QEMU's programs a process is."""

    SYSTEM = "system"
    IMG = "img"
    IO = "io"
    STORAGE_DAEMON = "storage-daemon"
    NBD = "nbd"


@dataclass(slots=True)
class CommandLine:
    """The parts of a command line that matter here; options are nested dictionaries."""

    guest_name: str = ""
    drives: list[Options] = field(default_factory=list)
    blockdevs: list[Options] = field(default_factory=list)
    devices: list[Options] = field(default_factory=list)
    exports: list[Options] = field(default_factory=list)
    chardevs: list[Options] = field(default_factory=list)
    monitor_chardevs: list[str] = field(default_factory=list)
    fd_sets: dict[int, list[int]] = field(default_factory=dict)
    iothreads: list[str] = field(default_factory=list)
    firmware_nodes: list[str] = field(default_factory=list)
    snapshot: bool = False
    notes: list[str] = field(default_factory=list)


# Options of qemu-system-* without an argument: what follows them is not theirs. From QEMU's
# qemu-options.def (HAS_ARG absent), old names included.
_FLAG_WORDS = """
    S alt-grab ctrl-grab curses daemonize enable-fips enable-hax enable-hvf enable-kvm
    enable-sync-profile full-screen h help mem-prealloc no-acpi no-fd-bootchk no-frame no-hpet
    no-kvm no-kvm-irqchip no-kvm-pit no-quit no-reboot no-shutdown no-user-config nodefaults
    nodefconfig nographic old-param one-insn-per-tb only-migratable portrait preconfig
    rtc-td-hack s sdl semihosting singlestep snapshot usb usbdevice-help version win2k-hack
    xen-attach xen-domid-restrict
"""
_FLAGS = frozenset(_FLAG_WORDS.split())
_SHORTHANDS = {f"hd{letter}": index for index, letter in enumerate("abcd")}
_INTERFACES = {
    "cdrom": "ide",
    "fda": "floppy",
    "fdb": "floppy",
    "mtdblock": "mtd",
    "sd": "sd",
    "pflash": "pflash",
}


def parse_system(argv: Sequence[str]) -> CommandLine:
    """Read the command line of qemu-system-* (argv[0] included)."""
    found = CommandLine()
    words = iter(argv[1:])
    disk_images = 0
    for word in words:
        if not word.startswith("-") or word == "-":
            found.drives.append({"if": "ide", "index": str(disk_images), "file": word})
            disk_images += 1
            continue
        option = word[2:] if word.startswith("--") else word[1:]
        if option == "snapshot":
            found.snapshot = True
        if option in _FLAGS:
            continue
        _take_system_option(found, option, next(words, ""))
    return found


def _take_system_option(found: CommandLine, option: str, value: str) -> None:
    if option in _SHORTHANDS:
        found.drives.append({"if": "ide", "index": str(_SHORTHANDS[option]), "file": value})
    elif option in _INTERFACES:
        media = {"media": "cdrom", "index": "2"} if option == "cdrom" else {}
        found.drives.append({"if": _INTERFACES[option], "file": value, **media})
    elif option in _TAKERS:
        _TAKERS[option](found, value)


def parse_storage_daemon(argv: Sequence[str]) -> CommandLine:
    """Read the command line of qemu-storage-daemon (argv[0] included)."""
    found = CommandLine()
    words = iter(argv[1:])
    for word in words:
        option, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or option not in _DAEMON_TAKERS:
            continue
        _DAEMON_TAKERS[option](found, value if has_value else next(words, ""))
    return found


def _take_name(found: CommandLine, value: str) -> None:
    found.guest_name = get_text(nest(split_pairs(value, "guest")), "guest")


def _take_object(found: CommandLine, value: str) -> None:
    options = parse_options(value, "qom-type")
    if get_text(options, "qom-type") == "iothread":
        found.iothreads.append(get_text(options, "id"))


def _take_qmp(found: CommandLine, value: str) -> None:
    kind, _, rest = value.partition(":")
    if kind == "unix":
        found.chardevs.append({"id": value, "backend": "socket", **nest(split_pairs(rest, "path"))})
        found.monitor_chardevs.append(value)
    elif value not in {"none", ""}:
        found.notes.append(f"its QMP monitor is on {kind or value}, which vio does not ask")


def _take_monitor(found: CommandLine, value: str) -> None:
    options = parse_options(value, "chardev")
    if get_text(options, "mode") == "control":
        found.monitor_chardevs.append(get_text(options, "chardev"))


def _take_daemon_monitor(found: CommandLine, value: str) -> None:
    found.monitor_chardevs.append(get_text(parse_options(value, "chardev"), "chardev"))


def _take_add_fd(found: CommandLine, value: str) -> None:
    options = parse_options(value)
    fd, fd_set = get_number(options, "fd"), get_number(options, "set")
    if fd is not None and fd_set is not None:
        found.fd_sets.setdefault(fd_set, []).append(fd)


def _take_machine(found: CommandLine, value: str) -> None:
    options = parse_options(value, "type")
    found.firmware_nodes += [name for key in ("pflash0", "pflash1") if (name := get_text(options, key))]


def _take_readconfig(found: CommandLine, value: str) -> None:
    found.notes.append(f"options read from the file {value} (-readconfig) are not seen by vio")


_Taker = Callable[[CommandLine, str], None]
_TAKERS: dict[str, _Taker] = {
    "name": _take_name,
    "drive": lambda found, value: found.drives.append(parse_options(value)),
    "blockdev": lambda found, value: found.blockdevs.append(parse_options(value, "driver")),
    "device": lambda found, value: found.devices.append(parse_options(value, "driver")),
    "object": _take_object,
    "chardev": lambda found, value: found.chardevs.append(parse_options(value, "backend")),
    "qmp": _take_qmp,
    "qmp-pretty": _take_qmp,
    "mon": _take_monitor,
    "add-fd": _take_add_fd,
    "machine": _take_machine,
    "M": _take_machine,
    "readconfig": _take_readconfig,
}
_DAEMON_TAKERS: dict[str, _Taker] = {
    "blockdev": _TAKERS["blockdev"],
    "export": lambda found, value: found.exports.append(parse_options(value, "type")),
    "object": _take_object,
    "chardev": _TAKERS["chardev"],
    "monitor": _take_daemon_monitor,
}
