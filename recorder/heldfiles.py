"""Open what an image names only where QEMU itself has it open: its own descriptor is opened again, not the name."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from vio.errors import MapError
from vio.printable import printable
from vio.recorder.imagefile import path_identity
from vio.recorder.procfs import HostRoots, read_open_files


@dataclass(slots=True)
class HeldFiles:
    """Files that a process has, or had, open; a descriptor of each one asked for is kept until `close`."""

    pid: int
    roots: HostRoots = field(default_factory=HostRoots)
    kept: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str, directory: Path) -> int:
        """Open the file that an image in `directory` names.

        Raises:
            MapError: The process does not have it open.
        """
        path = str(directory / name.removeprefix("file:"))
        if path not in self.kept:
            self.kept[path] = self._open(path)
        return os.dup(self.kept[path])

    def close(self) -> None:
        """Close what is kept."""
        for fd in self.kept.values():
            os.close(fd)
        self.kept.clear()

    def _open(self, path: str) -> int:
        process = self.roots.process(self.pid)
        try:
            wanted = path_identity(path, process)
            for file in read_open_files(process):
                if wanted is not None and file.identity == wanted:
                    place = process / "fd" / str(file.fd)
                    return os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MapError(f"{printable(path)} cannot be opened: {error}") from error
        raise MapError(f"{printable(path)} is not open in the process, so it is not opened here either")
