"""What a lab host keeps disk images on: a file system on a stack of devices on its NVMe disks."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PLACE = Path("/srv/vm")
"""Where a volume is mounted: recordings then show paths as hosts have them."""

_SECTOR_BYTES = 512
_LINEAR_START = 2048  # sectors: an address on the volume is another one on the disk
_STRIPE_SECTORS = 128
_DELAY_MS = 5
_COMMAND_LIMIT_S = 120
_PASSPHRASE = b"lab"


class Stack(StrEnum):
    """What is between the file system and the disks."""

    PLAIN = "plain"
    LINEAR = "linear"
    STRIPED = "striped"
    DELAY = "delay"
    CRYPT = "crypt"
    RAID0 = "raid0"
    RAID1 = "raid1"
    LOOP = "loop"

    @property
    def disk_count(self) -> int:
        """Count the disks that it takes."""
        return 2 if self in (Stack.STRIPED, Stack.RAID0, Stack.RAID1) else 1


class FileSystem(StrEnum):
    """The file system on top; OCFS2 as one node of its own, or as a node of the cluster that the host is in."""

    OCFS2 = "ocfs2"
    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


_MKFS = {
    FileSystem.OCFS2: "mkfs.ocfs2 -q -F --fs-features=local -M local -N 1 -C 64K -b 4K",
    FileSystem.EXT4: "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0",
    FileSystem.XFS: "mkfs.xfs -q -f",
    FileSystem.BTRFS: "mkfs.btrfs -q -f",
}
_MODULES = {
    Stack.PLAIN: (),
    Stack.LINEAR: ("dm_mod",),
    Stack.STRIPED: ("dm_mod",),
    Stack.DELAY: ("dm_mod", "dm_delay"),
    Stack.CRYPT: ("dm_mod", "dm_crypt"),
    Stack.RAID0: ("raid0",),
    Stack.RAID1: ("raid1",),
    Stack.LOOP: ("loop",),
}


@dataclass(frozen=True, slots=True)
class Volume:
    """A mounted volume, and the names of the block devices below it, the nearest first."""

    directory: Path
    devices: tuple[str, ...]


@contextlib.contextmanager
def volume(stack: Stack, file_system: FileSystem) -> Iterator[Volume]:
    """Make and mount a volume on the host's first NVMe disks; taken down at the end. All on them is lost."""
    load_modules("nvme", *_MODULES[stack], file_system)
    disks = [f"/dev/nvme{number}n1" for number in range(stack.disk_count)]
    with _STACKS[stack](disks) as device:
        run(*_MKFS[file_system].split(), device)
        with mounted(device, file_system) as directory:
            names = (Path(device).resolve().name, *(Path(disk).name for disk in disks))
            yield Volume(directory, tuple(dict.fromkeys(names)))


@contextlib.contextmanager
def mounted(device: str, file_system: str, directory: Path = PLACE) -> Iterator[Path]:
    """Mount a file system that is there."""
    directory.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", file_system, device, str(directory))
    try:
        yield directory
    finally:
        run("umount", str(directory))


def load_modules(*names: str) -> None:
    """Load drivers, each with those that it needs."""
    run("modprobe", "--all", *names)


def run(*command: str, stdin: bytes = b"") -> str:
    """Run a command to its end and return what it prints; one that fails shows why."""
    ran = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=_COMMAND_LIMIT_S)
    if ran.returncode:
        raise subprocess.CalledProcessError(ran.returncode, command, ran.stdout, ran.stderr)
    return ran.stdout.decode()


@contextlib.contextmanager
def _plain(disks: Sequence[str]) -> Iterator[str]:
    yield disks[0]


@contextlib.contextmanager
def _mapped(name: str, table: str) -> Iterator[str]:
    # there is no udev to wait for: dmsetup makes the node itself
    run("dmsetup", "--noudevsync", "--noudevrules", "create", name, "--table", table)
    try:
        yield f"/dev/mapper/{name}"
    finally:
        run("dmsetup", "--noudevsync", "--noudevrules", "remove", "--retry", name)


def _linear(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    return _mapped("lab-linear", f"0 {_sectors(disks[0]) - _LINEAR_START} linear {disks[0]} {_LINEAR_START}")


def _striped(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    each = min(map(_sectors, disks)) // _STRIPE_SECTORS * _STRIPE_SECTORS
    parts = " ".join(f"{disk} 0" for disk in disks)
    return _mapped("lab-striped", f"0 {each * len(disks)} striped {len(disks)} {_STRIPE_SECTORS} {parts}")


def _delay(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    return _mapped("lab-delay", f"0 {_sectors(disks[0])} delay {disks[0]} 0 {_DELAY_MS}")


@contextlib.contextmanager
def _crypt(disks: Sequence[str]) -> Iterator[str]:
    options = ("--batch-mode", "--type=plain", "--cipher=aes-cbc-essiv:sha256", "--key-size=256", "--hash=sha256")
    run("cryptsetup", "open", *options, disks[0], "lab-crypt", stdin=_PASSPHRASE)
    try:
        yield "/dev/mapper/lab-crypt"
    finally:
        run("cryptsetup", "close", "lab-crypt")


@contextlib.contextmanager
def _raid(disks: Sequence[str], level: str) -> Iterator[str]:
    run("mdadm", "--create", "/dev/md0", "--run", "--assume-clean", f"--level={level}", f"-n{len(disks)}", *disks)
    try:
        yield "/dev/md0"
    finally:
        run("mdadm", "--stop", "/dev/md0")
        run("mdadm", "--zero-superblock", *disks)


@contextlib.contextmanager
def _loop(disks: Sequence[str]) -> Iterator[str]:
    run("mkfs.xfs", "-q", "-f", disks[0])
    load_modules("xfs")
    with mounted(disks[0], "xfs", Path("/srv/backing")) as directory:
        file = directory / "volume.img"
        run("truncate", "-s", str(_sectors(disks[0]) * _SECTOR_BYTES // 4 * 3), str(file))
        device = run("losetup", "--direct-io=on", "--find", "--show", str(file)).strip()
        try:
            yield device
        finally:
            run("losetup", "--detach", device)


_STACKS: dict[Stack, Callable[[Sequence[str]], contextlib.AbstractContextManager[str]]] = {
    Stack.PLAIN: _plain,
    Stack.LINEAR: _linear,
    Stack.STRIPED: _striped,
    Stack.DELAY: _delay,
    Stack.CRYPT: _crypt,
    Stack.RAID0: lambda disks: _raid(disks, "0"),
    Stack.RAID1: lambda disks: _raid(disks, "1"),
    Stack.LOOP: _loop,
}


def _sectors(device: str) -> int:
    return int(Path("/sys/class/block", Path(device).name, "size").read_text())
