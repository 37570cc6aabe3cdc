"""What a lab host keeps disk images on: a file system on a stack of devices on its NVMe disks."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import ascii_lowercase

from lab.hostmachine import Bus
from vio.errors import HostError

PLACE = Path("/srv/vm")
"""Where a volume is mounted: recordings then show paths as hosts have them."""

THIN_META, THIN_POOL, THIN_VOLUME = "lab-meta", "lab-pool", "lab-thin"
"""Names of the mapper's devices that a thin volume is made of."""

_SECTOR_BYTES = 512
_LINEAR_START = 2048  # sectors: an address on the volume is another one on the disk
_STRIPE_SECTORS = 128
_DELAY_MS = 5
_THIN_META_SECTORS = 65536
_THIN_BLOCK_SECTORS = 128
_COMMAND_LIMIT_S = 120
_POLL_S = 0.05
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
    RAID10 = "raid10"
    RAID10_NEAR3 = "raid10-n3"
    RAID10_FAR = "raid10-f2"
    RAID10_OFFSET = "raid10-o2"
    RAID5 = "raid5"
    RAID6 = "raid6"
    THIN = "thin"
    LVM_THIN = "lvm-thin"
    MULTIPATH = "multipath"
    NVME_PATHS = "nvme-paths"
    """An NVMe namespace that two controllers lead to: the host has to be given one."""
    PARTITION = "partition"
    LOOP = "loop"

    @property
    def disk_count(self) -> int:
        """Count the disks that it takes."""
        return _DISK_COUNTS.get(self, 1)


_DISK_COUNTS = {
    Stack.STRIPED: 2,
    Stack.RAID0: 2,
    Stack.RAID1: 2,
    Stack.RAID10: 4,
    Stack.RAID10_NEAR3: 4,
    Stack.RAID10_FAR: 3,
    Stack.RAID10_OFFSET: 3,
    Stack.RAID5: 3,
    Stack.RAID6: 4,
}


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
    Stack.RAID10: ("raid10",),
    Stack.RAID10_NEAR3: ("raid10",),
    Stack.RAID10_FAR: ("raid10",),
    Stack.RAID10_OFFSET: ("raid10",),
    Stack.RAID5: ("raid456",),
    Stack.RAID6: ("raid456",),
    Stack.THIN: ("dm_mod", "dm_thin_pool"),
    Stack.LVM_THIN: ("dm_mod", "dm_thin_pool"),
    Stack.MULTIPATH: ("dm_mod", "dm_multipath", "dm_round_robin"),
    Stack.NVME_PATHS: (),
    Stack.PARTITION: (),
    Stack.LOOP: ("loop",),
}


@dataclass(frozen=True, slots=True)
class Volume:
    """A mounted volume, and the names of the block devices below it, the nearest first."""

    directory: Path
    devices: tuple[str, ...]


@contextlib.contextmanager
def volume(stack: Stack, file_system: FileSystem, first_disk: int = 0, bus: Bus = Bus.NVME) -> Iterator[Volume]:
    """Make and mount a volume on the disks of a kind from the one with this number on; taken down at the end.

    All that was on the disks is lost. Its directory is /srv/vm, or /srv/vm1 ... for those after the first disk; with
    others than NVMe disks /srv/virtio and so on.
    """
    load_modules(file_system)
    place = PLACE if bus is Bus.NVME else PLACE.with_name(str(bus))
    with stacked(stack, first_disk, bus) as (device, disks):
        run(*_MKFS[file_system].split(), device)
        with mounted(device, file_system, Path(f"{place}{first_disk or ''}")) as directory:
            names = (_kernel_name(device), *(Path(disk).name for disk in disks))
            yield Volume(directory, tuple(dict.fromkeys(names)))


@contextlib.contextmanager
def stacked(stack: Stack, first_disk: int = 0, bus: Bus = Bus.NVME) -> Iterator[tuple[str, list[str]]]:
    """Put devices together on disks of a kind from the one with this number on: the uppermost, and the disks."""
    load_modules(*bus.drivers, *_MODULES[stack])
    disks = [_wait_for(bus, number) for number in range(first_disk, first_disk + stack.disk_count)]
    with _STACKS[stack](disks) as device:
        run("wipefs", "--all", "--quiet", device)  # mkfs.ocfs2 refuses a disk that it made a volume on before
        yield device, disks


@contextlib.contextmanager
def mounted(device: str, file_system: str, directory: Path = PLACE) -> Iterator[Path]:
    """Mount a file system that is there."""
    directory.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", file_system, device, str(directory))
    try:
        yield directory
    finally:
        run("umount", str(directory))


@contextlib.contextmanager
def mapped(name: str, table: str) -> Iterator[str]:
    """Make a device of the mapper by its table."""
    run("dmsetup", "create", name, "--table", table)
    try:
        yield f"/dev/mapper/{name}"
    finally:
        run("dmsetup", "remove", "--retry", name)


def find_disk(bus: Bus, number: int, root: Path = Path("/")) -> str | None:
    """Give the device file of a disk if its driver, which may look for its disks by and by, has found it.

    A namespace of several paths is named after that controller which came first.
    """
    if bus in (Bus.VIRTIO, Bus.SCSI):
        names = [f"{'vd' if bus is Bus.VIRTIO else 'sd'}{ascii_lowercase[number]}"]
    else:
        serials = root.glob("sys/block/nvme*/device/serial")
        ours = (one.parents[1] for one in serials if one.read_text().strip() == bus.serial(number))
        names = [one.name for one in ours if (one / "hidden").read_text().strip() == "0"]
    return next((f"/dev/{name}" for name in names if (root / "dev" / name).exists()), None)


def _wait_for(bus: Bus, number: int) -> str:
    deadline_s = time.monotonic() + _COMMAND_LIMIT_S
    while not (found := find_disk(bus, number)):
        if time.monotonic() > deadline_s:
            raise HostError(f"the lab host has no {bus} disk number {number}")
        time.sleep(_POLL_S)
    return found


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


def _linear(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    return mapped("lab-linear", f"0 {_sectors(disks[0]) - _LINEAR_START} linear {disks[0]} {_LINEAR_START}")


def _striped(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    each = min(map(_sectors, disks)) // _STRIPE_SECTORS * _STRIPE_SECTORS
    parts = " ".join(f"{disk} 0" for disk in disks)
    return mapped("lab-striped", f"0 {each * len(disks)} striped {len(disks)} {_STRIPE_SECTORS} {parts}")


def _delay(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    return mapped("lab-delay", f"0 {_sectors(disks[0])} delay {disks[0]} 0 {_DELAY_MS}")


@contextlib.contextmanager
def _thin(disks: Sequence[str]) -> Iterator[str]:
    """Give a thin volume of a pool whose metadata and data are on the disk, each on a linear device."""
    data_sectors = _sectors(disks[0]) - _THIN_META_SECTORS
    meta = mapped(THIN_META, f"0 {_THIN_META_SECTORS} linear {disks[0]} 0")
    data = mapped("lab-data", f"0 {data_sectors} linear {disks[0]} {_THIN_META_SECTORS}")
    with meta as meta_device, data as data_device:
        run("dd", "if=/dev/zero", f"of={meta_device}", "bs=4096", "count=1", "oflag=direct")
        pool = f"0 {data_sectors} thin-pool {meta_device} {data_device} {_THIN_BLOCK_SECTORS} 0"
        with mapped(THIN_POOL, pool) as pool_device:
            run("dmsetup", "message", pool_device, "0", "create_thin 0")
            with mapped(THIN_VOLUME, f"0 {data_sectors // 2} thin {pool_device} 0") as device:
                yield device


@contextlib.contextmanager
def _lvm_thin(disks: Sequence[str]) -> Iterator[str]:
    """Give a thin volume as LVM makes it: its pool, and the two devices below that, are volumes as well."""

    def lvm(*words: str) -> None:
        # nobody runs udev on a lab host
        run("lvm", *words, "--config", "activation{udev_sync=0 udev_rules=0} devices{obtain_device_list_from_udev=0}")

    lvm("vgcreate", "--yes", "lab", disks[0])
    try:
        lvm("lvcreate", "--type=thin", "--thinpool=pool", "--size=512M", "--virtualsize=1G", "--name=volume", "lab")
        yield "/dev/mapper/lab-volume"
    finally:
        lvm("vgremove", "--yes", "--force", "lab")
        lvm("pvremove", disks[0])


def _multipath(disks: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    paths = f"1 1 round-robin 0 1 1 {disks[0]} 1000"
    return mapped("lab-multipath", f"0 {_sectors(disks[0])} multipath 0 0 {paths}")


@contextlib.contextmanager
def _partition(disks: Sequence[str]) -> Iterator[str]:
    """Give a partition that only the kernel knows of: there is no table on the disk."""
    run("addpart", disks[0], "1", str(_LINEAR_START), str(_sectors(disks[0]) - _LINEAR_START))
    try:
        yield f"{disks[0]}p1"
    finally:
        run("delpart", disks[0], "1")


@contextlib.contextmanager
def _crypt(disks: Sequence[str]) -> Iterator[str]:
    options = ("--batch-mode", "--type=plain", "--cipher=aes-cbc-essiv:sha256", "--key-size=256", "--hash=sha256")
    run("cryptsetup", "open", *options, disks[0], "lab-crypt", stdin=_PASSPHRASE)
    try:
        yield "/dev/mapper/lab-crypt"
    finally:
        run("cryptsetup", "close", "lab-crypt")


@contextlib.contextmanager
def _raid(disks: Sequence[str], level: str, *options: str) -> Iterator[str]:
    device = f"/dev/md{level}"
    shape = (f"--level={level}", f"-n{len(disks)}", *options)
    run("mdadm", "--create", device, "--run", "--assume-clean", *shape, *disks)
    try:
        yield device
    finally:
        run("mdadm", "--stop", device)
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
    Stack.RAID10: lambda disks: _raid(disks, "10"),
    Stack.RAID10_NEAR3: lambda disks: _raid(disks, "10", "--layout=n3"),
    Stack.RAID10_FAR: lambda disks: _raid(disks, "10", "--layout=f2"),
    Stack.RAID10_OFFSET: lambda disks: _raid(disks, "10", "--layout=o2"),
    Stack.RAID5: lambda disks: _raid(disks, "5"),
    Stack.RAID6: lambda disks: _raid(disks, "6"),
    Stack.THIN: _thin,
    Stack.LVM_THIN: _lvm_thin,
    Stack.MULTIPATH: _multipath,
    Stack.NVME_PATHS: _plain,
    Stack.PARTITION: _partition,
    Stack.LOOP: _loop,
}


def _kernel_name(device: str) -> str:
    number = Path(device).stat().st_rdev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name


def _sectors(device: str) -> int:
    return int(Path("/sys/class/block", Path(device).name, "size").read_text())
