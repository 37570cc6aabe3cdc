"""Open a guest disk's image and what it names, as far as the caller allows: never a file that only an image names."""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from vio.errors import MapError
from vio.mappers.openfile import File, name_of_file, path_of, read_at, space_of_file
from vio.mappers.qcow2.header import Qcow2Header, read_header
from vio.mappers.qcow2.snapshot import at_snapshot
from vio.printable import printable

MAX_DEPTH = 200
"""Images in a chain; QEMU itself grows slow before that."""
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_VDI_SIGNATURE = struct.pack("<I", 0xBEDA107F)


class ImageFormat(StrEnum):
    """Formats of a guest disk that are mapped; the last three by asking `qemu-img map`."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHDX = "vhdx"
    VDI = "vdi"


class Role(StrEnum):
    """What another file of an image is for."""

    DATA = "data"
    """The external data file: all of the guest's data is there, the image has tables only."""
    BACKING = "backing"
    """What has not been written to the image is read from here."""
    OVERLAY = "overlay"
    """What QEMU has put in the image's place since: all is written there, and the image is its backing file."""


@dataclass(frozen=True, slots=True)
class Named:
    """A file that an image names: the image's place in its chain, from 0 on, and the directory that it is in."""

    role: Role
    depth: int
    name: str
    directory: Path


Opener = Callable[[Named], File]
"""Returns a new descriptor for reading, or raises MapError: the file is not to be opened, or cannot be."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A guest disk to map: its image by path or descriptor (which stays the caller's); `format` "" is looked for.

    `opener` decides about the backing and data files that images name; without one they stay closed.
    """

    image: Path | File
    format: str = ""
    opener: Opener | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class OpenImage:
    """One image of a chain, open; `depth` counts from the guest's own image. `notes` say what was left out.

    `header` is of qcow2 only; `data_fd` is what its offsets refer to, None where that was not opened.
    """

    fd: File
    data_fd: File | None
    format: str
    depth: int
    header: Qcow2Header | None
    notes: tuple[str, ...] = ()
    is_trusted: bool = False
    """Whether the caller allows any file to be opened that the image names."""


def refuse_names(named: Named) -> NoReturn:
    """Open nothing that an image names."""
    raise MapError(f"{printable(named.name)} is not opened only because an image names it", "--follow opens such files")


def trust_names(named: Named) -> int:
    """Open what an image names, as QEMU would: for images whose owner says so."""
    name = named.name
    if name.startswith("file:"):
        name = name.removeprefix("file:")
    elif ":" in name.partition("/")[0]:
        raise MapError(f"{printable(name)} is no file of this host")
    try:
        return os.open(named.directory / name, _READ)
    except (OSError, ValueError) as error:
        raise MapError(f"{printable(name)}: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def opened_chain(source: ImageSource) -> Iterator[list[OpenImage]]:
    """Open the image and those below it, the guest's own first; all are closed afterwards.

    Raises:
        MapError: The first image cannot be believed, or the chain contains itself.
        OSError: The first image cannot be opened.
    """
    chain: list[OpenImage] = []
    mine: list[int] = []
    opener = source.opener or refuse_names
    try:
        fd = _descriptor(source.image, mine)
        chain_format, snapshot = source.format, source.snapshot
        seen: set[str] = set()
        while True:
            _check_fresh(fd, seen)
            image, below = _open_one(fd, chain_format, len(chain), snapshot, opener, mine)
            chain.append(image)
            if below is None:
                break
            fd, chain_format, snapshot = below[0], below[1], ""
        yield chain
    finally:
        for fd in mine:
            os.close(fd)


def detect_format(fd: File) -> str:
    """Tell the format by its magic number; what has none is raw."""
    head = read_at(fd, 512, 0)
    if head.startswith(b"QFI\xfb"):
        return ImageFormat.QCOW2
    if head.startswith((b"KDMV", b"COWD", b"# Disk DescriptorFile")):
        return ImageFormat.VMDK
    if head.startswith(b"vhdxfile"):
        return ImageFormat.VHDX
    return ImageFormat.VDI if head[64:68] == _VDI_SIGNATURE else ImageFormat.RAW


def _open_one(
    fd: File, image_format: str, depth: int, snapshot: str, opener: Opener, mine: list[int]
) -> tuple[OpenImage, tuple[File, str] | None]:
    """Describe one image, and open the next below it: its descriptor and format, None if there is none to open."""
    notes = [] if image_format else [f"its format was not said: it looks like {detect_format(fd)}"] if depth else []
    image_format = image_format or detect_format(fd)
    if image_format != ImageFormat.QCOW2:
        if snapshot:
            raise MapError(f"a {image_format} image has no internal snapshots")
        return OpenImage(fd, fd, image_format, depth, None, tuple(notes), opener is trust_names), None
    header = read_header(fd)
    data_fd = _opened(Role.DATA, fd, depth, header.data_file, opener, mine, notes) if header.has_data_file else fd
    if header.has_data_file and header.data_file is None:
        notes.append("its data is in a file that it does not name")
    below = _opened(Role.BACKING, fd, depth, header.backing_file, opener, mine, notes)
    header = at_snapshot(fd, header, snapshot) if snapshot else header
    image = OpenImage(fd, data_fd, image_format, depth, header, tuple(notes))
    return image, None if below is None else (below, header.backing_format or "")


def _opened(
    role: Role, fd: File, depth: int, name: str | None, opener: Opener, mine: list[int], notes: list[str]
) -> File | None:
    """Open another file of the image open as `fd`; None if it names none, or the opener refuses."""
    if name is None:
        return None
    try:
        other = opener(Named(role, depth, name, path_of(fd).parent))
    except MapError as error:
        notes.append(f"its {role} file is not followed: {error}")
        return None
    if isinstance(other, int):
        mine.append(other)
    return other


def _descriptor(file: Path | File, mine: list[int]) -> File:
    """Open a path that the caller chose (a link is followed: maps go by what was opened); keep an fd open."""
    if not isinstance(file, Path):
        return file
    fd = os.open(file, _READ)
    mine.append(fd)
    return fd


def _check_fresh(file: File, seen: set[str]) -> None:
    if isinstance(file, int):
        mode = os.fstat(file).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise MapError(f"{printable(name_of_file(file))} is neither a file nor a block device")
    space = space_of_file(file)
    if space in seen:
        raise MapError(f"the chain of images contains {printable(name_of_file(file))} twice")
    if len(seen) >= MAX_DEPTH:
        raise MapError(f"the chain of images is longer than {MAX_DEPTH}")
    seen.add(space)
