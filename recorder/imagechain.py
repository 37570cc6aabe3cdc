"""The other files of an image: a qcow2's external data file, and its backing files.

A name in an image's header is text from the guest's side: a file counts only if the process itself has it open.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from vio.errors import MapError
from vio.mappers.images import Role
from vio.mappers.qcow2.header import Qcow2Header, read_header
from vio.printable import printable
from vio.recorder.imagefile import ProcessFiles, open_matches, probed_format
from vio.recorder.nodes import LOCAL_PROTOCOLS, ImageChain, resolve
from vio.recorder.optstring import parse_json
from vio.recorder.procfs import OpenFile
from vio.recorder.storage import HostDevice, device_below

NOT_FOLLOWED = "it is not followed"
_MAX_FILES = 64


@dataclass(frozen=True, slots=True)
class ChainFile:
    """Another file of an image, which the process has open by the descriptors `fds`.

    `cluster_bytes` and `subcluster_bytes` are as those of a disk; 0 where nobody has looked.
    """

    role: Role
    path: str
    format: str
    fds: tuple[int, ...]
    device: tuple[int, int]
    inode: int
    is_block_device: bool
    is_direct: bool
    below: HostDevice
    cluster_bytes: int = 0
    subcluster_bytes: int = 0


@dataclass(slots=True)
class FoundChain:
    """The other files of an image, nearest first; `notes` say what of them is not followed.

    `cluster_bytes` and `subcluster_bytes` are the image's own, if it is qcow2; else 0.
    """

    files: list[ChainFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cluster_bytes: int = 0
    subcluster_bytes: int = 0


def find_chain(image: OpenFile, form: str, chain: ImageChain, where: ProcessFiles) -> FoundChain:
    """Find the other files of an open image of that format; `chain` is what the options say of it."""
    found, seen = FoundChain(), {image.identity}
    while form == "qcow2" and len(found.files) < _MAX_FILES:
        header = _header(where, image, found)
        if header is None:
            break
        if len(seen) == 1:
            found.cluster_bytes, found.subcluster_bytes = header.cluster_size, header.subcluster_size
        form = ""
        for role, child in _children(header, chain, image.path):
            file = _found_open(child, where)
            if file is None or file.identity in seen:
                found.notes.append(f"its {role} file {printable(child.filename)} is not open: {NOT_FOLLOWED}")
                continue
            seen.add(file.identity)
            found.files.append(_chain_file(role, child, file, where))
            if role is Role.BACKING:
                image, form, chain = file, found.files[-1].format, child
    return found


def _header(where: ProcessFiles, image: OpenFile, found: FoundChain) -> Qcow2Header | None:
    try:
        fd = os.open(where.process / "fd" / str(image.fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_header(fd)
    except (MapError, OSError) as error:
        found.notes.append(f"its other files are not known: {error}")
        return None
    finally:
        os.close(fd)


def _children(header: Qcow2Header, chain: ImageChain, path: str) -> Iterator[tuple[Role, ImageChain]]:
    """Yield the other files that an image needs: by the options, which overrule it, or else by its header."""
    data = chain.data_file or (_named(header.data_file, "raw", path) if header.has_data_file else None)
    backing = chain.backing or _named(header.backing_file, header.backing_format or "", path)
    for role, child in ((Role.DATA, data), (Role.BACKING, backing)):
        if child and child.filename:
            yield role, child


def _named(name: str | None, form: str, image: str) -> ImageChain | None:
    """Read a header's name as QEMU does: options as JSON, or a path, which begins at the image's directory."""
    if not name:
        return None
    if name.startswith("json:"):
        child = resolve(parse_json(name.removeprefix("json:")), {})
    else:
        child = resolve({"driver": form, "file": {"": name}}, {})
    if child.protocol in LOCAL_PROTOCOLS and not child.filename.startswith("/"):
        child.filename = str(PurePosixPath(image).parent / child.filename)
    return child


def _found_open(child: ImageChain, where: ProcessFiles) -> OpenFile | None:
    if child.protocol not in LOCAL_PROTOCOLS:
        return None
    matches = open_matches(child.filename, where)
    return matches[0] if matches else None


def _chain_file(role: Role, child: ImageChain, file: OpenFile, where: ProcessFiles) -> ChainFile:
    return ChainFile(
        role,
        file.path,
        child.format or probed_format(where.process, file),
        tuple(other.fd for other in where.files if other.identity == file.identity),
        file.device,
        file.inode,
        file.is_block_device,
        file.is_direct,
        device_below(file, where.mounts, where.roots),
    )
