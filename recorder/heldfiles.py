"""Keep a disk's image and its other files open: by the process's own descriptors, never by a name in an image."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vio.errors import MapError
from vio.mappers.images import ImageSource, Named, Role
from vio.printable import printable
from vio.recorder.disks import Disk
from vio.recorder.imagechain import ChainFile

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class HeldImage:
    """A disk's image, open for reading; `others` are its other files, by role and place in the chain.

    `notes` say which of them could not be opened.
    """

    disk: Disk
    fd: int
    others: dict[tuple[Role, int], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def source(self) -> ImageSource:
        """The image as mappers take it."""
        return ImageSource(self.fd, self.disk.format, self.open_other)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All descriptors that it holds."""
        return (self.fd, *self.others.values())

    def hold_others(self, chain: Iterable[ChainFile], process: Path, stack: ExitStack) -> bool:
        """Open the image's other files that are not held yet, until the stack is left; tell whether there were any.

        `process` is the directory in /proc of the process that has them open.
        """
        depth, known = 0, len(self.others)
        for file in chain:
            if (file.role, depth) not in self.others:
                try:
                    self.others[file.role, depth] = _opened(process, file.fds, file.path, stack)
                except OSError as error:
                    self.notes.append(f"{printable(file.path)}: not mapped: {error.strerror}")
            depth += file.role is Role.BACKING
        return len(self.others) > known

    def open_other(self, named: Named) -> int:
        """Open what the process has open in that place of the chain, whatever its name.

        Raises:
            MapError: The process does not have it open.
        """
        fd = self.others.get((named.role, named.depth))
        if fd is None:
            raise MapError(f"{printable(named.name)} is not open in the process, so it is not opened here either")
        return os.dup(fd)


@contextmanager
def held_image(disk: Disk, process: Path) -> Iterator[HeldImage]:
    """Open a disk's image; `process` is the process's directory in /proc.

    A command that has not begun has no descriptors: then paths are opened, which are the user's own words.

    Raises:
        OSError: The image cannot be opened.
    """
    with ExitStack() as stack:
        held = HeldImage(disk, _opened(process, () if disk.fd is None else (disk.fd,), disk.path, stack))
        held.hold_others(disk.chain, process, stack)
        yield held


def _opened(process: Path, fds: tuple[int, ...], path: str, stack: ExitStack) -> int:
    fd = os.open(process / "fd" / str(fds[0]) if fds else path, _READ)
    stack.callback(os.close, fd)
    return fd
