"""The process that `vio.mappers.guestfs.apart` starts: it gives up what it may do, and walks a file system."""

import importlib
import os
import resource
import socket
import sys
from collections.abc import Callable

from vio.errors import MapError
from vio.mappers.guestfs.apart import REQUEST, pack_answer, pack_refusal, receive
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Walked
from vio.mappers.guestfs.ext4 import walk_ext4
from vio.mappers.guestfs.ntfs import walk_ntfs
from vio.mappers.guestfs.volumes import EXT, NTFS, XFS
from vio.mappers.guestfs.xfs import walk_xfs

NOBODY = 65534
_READERS: dict[str, tuple[str, Callable[[Content], Walked]]] = {
    EXT: ("pyfsext", walk_ext4),
    XFS: ("pyfsxfs", walk_xfs),
    NTFS: ("pyfsntfs", walk_ntfs),
}


def main(kind: str, fd: int, size: int, limit_s: int, max_memory: int) -> None:
    """Walk the volume of `size` bytes that is read through the socket `fd`, and send what was found."""
    library, walk = _READERS[kind]
    importlib.import_module(library)  # as nobody it may not be readable
    _give_up(limit_s, max_memory)
    channel = socket.socket(fileno=fd)

    def read(offset: int, end: int) -> bytes:
        channel.sendall(REQUEST.pack(offset, end - offset))
        return receive(channel, end - offset)

    try:
        answer = pack_answer(walk(Content(size, read)))
    except MapError as error:
        answer = pack_refusal(error.message)
    except MemoryError:
        answer = pack_refusal(f"{kind} of the guest: it takes more than {max_memory >> 20} MiB to read: is it damaged?")
    channel.sendall(REQUEST.pack(len(answer), 0))
    channel.sendall(answer)


def _give_up(limit_s: int, max_memory: int) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, max_memory),
        (resource.RLIMIT_CPU, limit_s),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
