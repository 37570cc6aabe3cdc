"""Which files the disks' images consist of, and by which descriptors QEMU has them open."""

from collections import Counter
from dataclasses import dataclass, field

from vio.manifest import ChainInfo, DiskInfo, Manifest
from vio.reporter.carriers import FileId

_DIRECT = ("none", "directsync")
_DATA, _BACKING, _OVERLAY = "data", "backing", "overlay"
_QCOW2 = "qcow2"


def is_direct(disk: DiskInfo) -> bool:
    """Tell whether a disk's image bypasses the page cache."""
    return disk.cache in _DIRECT


def data_file(disk: DiskInfo) -> ChainInfo | None:
    """Return the external data file of a disk's image, if it has one."""
    return next((file for file in disk.chain if file.role == _DATA), None)


def data_space(disk: DiskInfo) -> str:
    """Return the space in which the guest's data lies: the image, or its external data file."""
    data = data_file(disk)
    return data.space if data else disk.space


def data_descriptors(disk: DiskInfo) -> tuple[int, ...]:
    """Return the descriptors of the file in which the guest's data lies."""
    data = data_file(disk)
    return data.fds if data else disk.fds


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A file in which a disk's data lies by qcow2's tables, with its descriptors; clusters are 0 where not known."""

    space: str
    fds: tuple[int, ...]
    cluster_bytes: int
    subcluster_bytes: int


def image_layers(disk: DiskInfo) -> list[ImageLayer]:
    """Return the file with a disk's data, and what was put in its place while it was recorded, in order of time.

    Only those whose format is qcow2, that have addresses of their own, and that are known by descriptor.
    """
    files: list[tuple[DiskInfo | ChainInfo, str, tuple[int, ...]]]
    files = [(disk, data_space(disk), data_descriptors(disk))]
    files += [(file, file.space, file.fds) for file in disk.chain if file.role == _OVERLAY]
    return [
        ImageLayer(space, fds, image.cluster_bytes, image.subcluster_bytes)
        for image, space, fds in files
        if image.format == _QCOW2 and space and fds
    ]


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Files of all disks' images, their backing files and data files included; by descriptor what each is.

    `spaces` has the space of each descriptor, `files` those that are files of a file system, `disks` those that belong
    to one disk only. `backing` and `buffered` are descriptors of backing files, and of what goes by the page cache.
    """

    images: frozenset[FileId] = frozenset()
    spaces: dict[int, str] = field(default_factory=dict)
    files: dict[int, FileId] = field(default_factory=dict)
    disks: dict[int, int] = field(default_factory=dict)
    backing: frozenset[int] = frozenset()
    buffered: frozenset[int] = frozenset()

    @classmethod
    def of(cls, manifest: Manifest) -> "ImageFiles":
        """Take them from a recording's manifest."""
        by_space = {file.space: (file.kernel_dev, file.inode) for file in manifest.files}
        spaces: dict[int, str] = {}
        disks: dict[int, int] = {}
        backing: set[int] = set()
        buffered: set[int] = set()
        everything = manifest.target.disks
        shared = Counter(fd for disk in everything for fd in {fd for file in disk.chain for fd in file.fds})
        for number, disk in enumerate(everything):
            for file in disk.chain:
                spaces |= dict.fromkeys(file.fds, file.space)
                disks |= {fd: number for fd in file.fds if shared[fd] == 1}
                backing |= set(file.fds) if file.role == _BACKING else set()
                buffered |= set() if file.is_direct else set(file.fds)
        for number, disk in enumerate(everything):
            spaces |= dict.fromkeys(disk.fds, disk.space)
            disks |= dict.fromkeys(disk.fds, number)
            buffered |= set() if is_direct(disk) else set(disk.fds)
        files = {fd: by_space[space] for fd, space in spaces.items() if space in by_space}
        known = {disk.space for disk in everything} | {file.space for disk in everything for file in disk.chain}
        images = frozenset(file for space, file in by_space.items() if space in known)
        return cls(images, spaces, files, disks, frozenset(backing), frozenset(buffered))
