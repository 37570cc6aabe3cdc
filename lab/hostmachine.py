"""What a lab host is made of: its disks, its wire, its first file system, and the QEMU that it is from outside."""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab import cpio, initramfs
from lab.hostclock import tsc_khz

_QEMU = "qemu-system-x86_64"
_DRIVERS = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
# HPET, which the kernel prefers else, costs a microsecond and a lock each time that a probe asks for the time; the
# emulated timer is late on a busy machine, and the kernel would not boot if it looked
_KERNEL_WORDS = (
    "console=ttyS0 quiet panic=-1 mitigations=off audit=0 apparmor=0 random.trust_cpu=on tsc=reliable no_timer_check"
)
# AVX as QEMU 7.2 emulates it makes NumPy's sorting crash; with ERMS the kernel copies and clears by string instructions
# of single bytes, each of which is emulated: a seventh of the speed
_CPU = "max,-avx,-avx2,-f16c,-fma,-la57,-erms"


class Bus(StrEnum):
    """How a lab host sees a disk."""

    NVME = "nvme"
    NVME_PATHS = "nvme-paths"
    """An NVMe namespace that two controllers of one subsystem lead to."""
    VIRTIO = "virtio"
    SCSI = "scsi"

    @property
    def drivers(self) -> tuple[str, ...]:
        """Name the modules that a host needs to see such a disk."""
        return {Bus.VIRTIO: ("virtio_blk",), Bus.SCSI: ("virtio_scsi", "sd_mod")}.get(self, ("nvme",))

    def serial(self, number: int) -> str:
        """Give the serial number of the disk that is this one of those of its driver, from 0."""
        return f"{self.drivers[0]}{number}"


@dataclass(frozen=True, slots=True)
class HostDisk:
    """A raw file of the outer machine that is a disk of a lab host.

    The NVMe disks are nvme0n1, nvme1n1 ... in the order in which they are given, but one of two paths may have the
    number of either; those by virtio are vda ...; each by SCSI has an adapter of its own. One that `is_shared` may be a
    disk of two hosts at once.
    """

    path: Path
    bus: Bus = Bus.NVME
    is_shared: bool = False

    def qemu_arguments(self, number: int) -> list[str]:
        """Give the options that make this the machine's disk of that number, from 0, among those of its driver."""
        serial = self.bus.serial(number)
        # unsafe: flushes need not reach the outer machine's disk; two QEMUs see each other's writes in its page cache
        drive = f"file={_quoted(self.path)},if=none,id={serial},format=raw,cache=unsafe,discard=unmap"
        share = ",share-rw=on" if self.is_shared else ""
        if self.is_shared:
            drive += ",file.locking=off"
        if self.bus is Bus.NVME_PATHS:
            return ["-drive", drive, *_two_paths(serial)]
        kinds = {Bus.NVME: "nvme", Bus.VIRTIO: "virtio-blk-pci", Bus.SCSI: f"scsi-hd,bus=adapter{number}.0"}
        adapter = ["-device", f"virtio-scsi-pci,id=adapter{number}"] if self.bus is Bus.SCSI else []
        return [*adapter, "-drive", drive, "-device", f"{kinds[self.bus]},serial={serial},drive={serial}{share}"]


def _two_paths(serial: str) -> list[str]:
    controllers = [
        word for path in "ab" for word in ("-device", f"nvme,id={serial}{path},serial={serial},subsys=of-{serial}")
    ]
    namespace = f"nvme-ns,drive={serial},bus={serial}b,nsid=1,shared=on"
    return ["-device", f"nvme-subsys,id=of-{serial},nqn={serial}", *controllers, "-device", namespace]


@dataclass(frozen=True, slots=True)
class Wire:
    """One end of a private wire between two lab hosts, over a Unix socket; the end that `listens` is started first."""

    socket: Path
    mac: str
    listens: bool = False

    def qemu_arguments(self) -> list[str]:
        """Give the options that make this the machine's network card."""
        server = "on" if self.listens else "off"
        netdev = f"stream,id=wire,server={server},addr.type=unix,addr.path={_quoted(self.socket)}"
        return ["-netdev", netdev, "-device", f"virtio-net-pci,netdev=wire,mac={self.mac}"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A lab host before it is started."""

    name: str
    disks: tuple[HostDisk, ...]
    nic: Wire | None
    memory_mib: int
    cpus: int
    limit_s: int

    def command(self, directory: Path, initrd: Path, kernel: initramfs.Kernel) -> list[str]:
        """Give the command line of its QEMU; the sockets and the console are in `directory`."""
        return [
            *("setpriv", "--pdeathsig", "KILL", _QEMU, "-name", f"{self.name},debug-threads=on"),
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", _CPU),
            *("-m", str(self.memory_mib), "-smp", str(self.cpus)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(kernel.image), "-initrd", str(initrd), "-append", _kernel_words()),
            *("-chardev", f"file,id=console,path={_quoted(directory)}/console.txt", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=agent,path={_quoted(directory)}/agent,server=on,wait=off"),
            *("-serial", "chardev:agent", "-device", "virtio-rng-pci"),
            *_shared_directory("vio-root", Path("/"), is_readonly=True),
            *_shared_directory("vio-share", directory, is_readonly=False),
            *self._disk_arguments(),
            *(self.nic.qemu_arguments() if self.nic else ()),
        ]

    def _disk_arguments(self) -> Iterator[str]:
        count: Counter[str] = Counter()
        for disk in self.disks:
            driver = disk.bus.drivers[0]
            yield from disk.qemu_arguments(count[driver])
            count[driver] += 1

    def archive(self, share: Path, kernel: initramfs.Kernel) -> bytes:
        """Give what it boots from: it mounts the outer machine's root, and then listens to it."""
        return cpio.archive(self._entries(share, kernel))

    def _entries(self, share: Path, kernel: initramfs.Kernel) -> Iterator[cpio.Entry]:
        here = Path(__file__).parent
        settings = {
            "NAME": self.name,
            "SHARE": str(share),
            "MODULES": str(kernel.modules),
            "LIMIT_S": str(self.limit_s),
            "DIRECTORY": str(initramfs.REPOSITORY),
            "VISIBLE": " ".join(_visible(kernel)),
        }
        text = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        yield cpio.file_entry("/init", (here / "host_init.sh").read_bytes(), executable=True)
        yield cpio.file_entry("/lab/agent.sh", (here / "host_agent.sh").read_bytes())
        yield cpio.file_entry("/lab/settings", text.encode())
        yield cpio.file_entry("/bin/busybox", initramfs.find_busybox().read_bytes(), executable=True)
        yield from (cpio.Entry(f"/{name}", 0o040755) for name in ("dev", "proc", "sys", "root"))
        yield from initramfs.module_entries(initramfs.load_order(kernel, _DRIVERS))


def make_disk(size_bytes: int, directory: Path | None = None) -> Path:
    """Make an empty sparse file to be a disk, in `directory` or where big temporary files go; the caller removes it."""
    number, name = tempfile.mkstemp(prefix="vio-disk-", suffix=".img", dir=directory or "/var/tmp")
    os.close(number)
    os.truncate(name, size_bytes)
    return Path(name)


def _kernel_words() -> str:
    frequency = tsc_khz()
    return f"{_KERNEL_WORDS} tsc_early_khz={frequency}" if frequency else _KERNEL_WORDS


def _visible(kernel: initramfs.Kernel) -> Sequence[str]:
    """Name what has to be seen inside even if it lies where the host has places of its own, such as /tmp."""
    return sorted({str(initramfs.REPOSITORY), sys.prefix, sys.base_prefix, str(kernel.modules)})


def _shared_directory(tag: str, path: Path, *, is_readonly: bool) -> list[str]:
    options = f"local,id={tag},path={_quoted(path)},security_model=none,multidevs=remap"
    return [
        *("-fsdev", f"{options},readonly=on" if is_readonly else options),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    ]


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")
