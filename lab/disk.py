"""A guest's disk: how QEMU is told of it, and what its statistics say."""

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from string import ascii_lowercase

from vio.errors import UsageError

SECTOR_BYTES = 512


class Format(StrEnum):
    """Image formats."""

    QCOW2 = "qcow2"
    RAW = "raw"


class Aio(StrEnum):
    """How QEMU hands IO to the kernel."""

    NATIVE = "native"
    IO_URING = "io_uring"
    THREADS = "threads"


class Cache(StrEnum):
    """QEMU's cache modes, by the names that its -drive option has for them."""

    NONE = "none"
    WRITEBACK = "writeback"
    WRITETHROUGH = "writethrough"
    DIRECTSYNC = "directsync"
    UNSAFE = "unsafe"

    @property
    def is_direct(self) -> bool:
        """Tell whether QEMU opens the file with O_DIRECT."""
        return self in (Cache.NONE, Cache.DIRECTSYNC)

    @property
    def has_write_cache(self) -> bool:
        """Tell whether the guest sees a disk with a volatile write cache, and so sends flushes."""
        return self not in (Cache.WRITETHROUGH, Cache.DIRECTSYNC)


class Bus(StrEnum):
    """What the guest sees the disk on."""

    VIRTIO_BLK = "virtio-blk"
    VIRTIO_SCSI = "virtio-scsi"


@dataclass(frozen=True, slots=True)
class Disk:
    """An image file and the way QEMU opens it; what the guest calls it is in `guest_names`.

    Disks on VIRTIO_SCSI with one `hba` number share an adapter, which has the iothread and the queues of the first.
    `has_fua`: a SCSI disk takes writes that must be durable once they are done, and the guest sends no flush with them.
    """

    path: Path
    format: Format = Format.QCOW2
    aio: Aio = Aio.NATIVE
    cache: Cache = Cache.NONE
    has_discard: bool = True
    has_iothread: bool = False
    queue_count: int = 1
    bus: Bus = Bus.VIRTIO_BLK
    hba: int = 0
    block_bytes: int = SECTOR_BYTES
    has_fua: bool = False

    def __post_init__(self) -> None:
        """Refuse what QEMU refuses."""
        if self.aio is Aio.NATIVE and not self.cache.is_direct:
            raise UsageError(f"aio=native does not go with cache={self.cache}", "use cache=none or directsync")

    @property
    def is_scsi(self) -> bool:
        """Tell whether the disk is behind a SCSI adapter."""
        return self.bus is Bus.VIRTIO_SCSI

    def node_arguments(self, index: int) -> list[str]:
        """Give the options that open the image of this QEMU's disk number `index` as node `disk<index>`."""
        nodes = (self._file_node(index), self._format_node(index))
        return [word for node in nodes for word in ("-blockdev", json.dumps(node))]

    def device_arguments(self, index: int, target: int) -> list[str]:
        """Give the options that plug it in; `target` is its place on its SCSI adapter."""
        if self.is_scsi:
            words = ["scsi-hd", f"id=scsi{self.hba}-{target}", f"bus=scsi{self.hba}.0", f"scsi-id={target}", "lun=0"]
            words += ["dpofua=on"] if self.has_fua else []
            return ["-device", ",".join([*words, *self._common_device(index)])]
        words = ["virtio-blk-pci", f"id=virtio{index}", *self._common_device(index), *self._queues(f"{index}", "-")]
        return [*self._iothread(f"{index}"), "-device", ",".join(words)]

    def adapter_arguments(self) -> list[str]:
        """Give the options that make the SCSI adapter of which this is the first disk."""
        words = ["virtio-scsi-pci", f"id=scsi{self.hba}", *self._queues(f"-scsi{self.hba}", "_")]
        return [*self._iothread(f"-scsi{self.hba}"), "-device", ",".join(words)]

    def _iothread(self, suffix: str) -> list[str]:
        return ["-object", f"iothread,id=iothread{suffix}"] if self.has_iothread else []

    def _queues(self, suffix: str, dash: str) -> list[str]:
        iothread = [f"iothread=iothread{suffix}"] if self.has_iothread else []
        return [f"num{dash}queues={self.queue_count}", *iothread]

    def _common_device(self, index: int) -> list[str]:
        return [
            f"drive=disk{index}",
            f"logical_block_size={self.block_bytes},physical_block_size={self.block_bytes}",
            f"write-cache={'on' if self.cache.has_write_cache else 'off'}",
        ]

    def _file_node(self, index: int) -> dict[str, object]:
        return {
            "driver": "file",
            "node-name": f"file{index}",
            "filename": str(self.path),
            "aio": str(self.aio),
            **self._common_options(),
        }

    def _format_node(self, index: int) -> dict[str, object]:
        return {
            "driver": str(self.format),
            "node-name": f"disk{index}",
            "file": f"file{index}",
            "detect-zeroes": "off",
            **self._common_options(),
        }

    def _common_options(self) -> dict[str, object]:
        return {
            "cache": {"direct": self.cache.is_direct, "no-flush": self.cache is Cache.UNSAFE},
            "discard": "unmap" if self.has_discard else "ignore",
        }


def qemu_arguments(disks: Sequence[Disk]) -> list[str]:
    """Give the options that make QEMU's disks, in their order, each SCSI adapter before its first disk."""
    arguments: list[str] = []
    on_adapter: Counter[int] = Counter()
    for index, disk in enumerate(disks):
        arguments += disk.node_arguments(index)
        if disk.is_scsi and not on_adapter[disk.hba]:
            arguments += disk.adapter_arguments()
        arguments += disk.device_arguments(index, on_adapter[disk.hba])
        on_adapter[disk.hba] += disk.is_scsi
    return arguments


def guest_names(disks: Sequence[Disk]) -> tuple[str, ...]:
    """Give what the guest calls each disk: vda, vdb, ...; sda, sdb, ... in the order of their adapters."""
    hbas = list(dict.fromkeys(disk.hba for disk in disks if disk.is_scsi))
    places = sorted((hbas.index(disk.hba), index) for index, disk in enumerate(disks) if disk.is_scsi)
    names = {index: f"sd{ascii_lowercase[number]}" for number, (_, index) in enumerate(places)}
    others = [index for index, disk in enumerate(disks) if not disk.is_scsi]
    names |= {index: f"vd{ascii_lowercase[number]}" for number, index in enumerate(others)}
    return tuple(names[index] for index in range(len(disks)))


@dataclass(frozen=True, slots=True)
class DiskStats:
    """The fields of /sys/block/*/stat, in order; a sector is 512 bytes.

    Write zeroes count as writes. So does each flush that was asked for, with no sectors, beside `flush_ios`.
    """

    read_ios: int
    read_merges: int
    read_sectors: int
    read_ms: int
    write_ios: int
    write_merges: int
    write_sectors: int
    write_ms: int
    in_flight: int
    busy_ms: int
    queue_ms: int
    discard_ios: int
    discard_merges: int
    discard_sectors: int
    discard_ms: int
    flush_ios: int
    flush_ms: int

    @classmethod
    def parse(cls, text: str) -> "DiskStats":
        """Read the content of a stat file of Linux 5.5 or newer."""
        return cls(*map(int, text.split()))

    @classmethod
    def of_device(cls, name: str) -> "DiskStats":
        """Read the statistics of this host's block device `name`, such as loop1."""
        return cls.parse(Path("/sys/class/block", name, "stat").read_text())

    def since(self, earlier: "DiskStats") -> "DiskStats":
        """Give what was done after `earlier` was read."""
        return DiskStats(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))

    @property
    def data_write_ios(self) -> int:
        """Count writes without the flushes among them; exact where no two flushes were asked for at once."""
        return self.write_ios - self.flush_ios

    @property
    def io_count(self) -> int:
        """Count requests of every kind as the device got them; exact where `data_write_ios` is."""
        return self.read_ios + self.data_write_ios + self.discard_ios + self.flush_ios

    @property
    def read_bytes(self) -> int:
        """Give the bytes read."""
        return self.read_sectors * SECTOR_BYTES

    @property
    def write_bytes(self) -> int:
        """Give the bytes written, those written as zeroes included."""
        return self.write_sectors * SECTOR_BYTES

    @property
    def discard_bytes(self) -> int:
        """Give the bytes discarded."""
        return self.discard_sectors * SECTOR_BYTES


def make_image(path: Path, size_bytes: int, image_format: Format = Format.QCOW2, options: str = "") -> Path:
    """Make an empty image at `path` with qemu-img; `options` is its -o argument."""
    extra = ["-o", options] if options else []
    command = ["qemu-img", "create", "-q", "-f", str(image_format), *extra, str(path), str(size_bytes)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path
