"""Walk a guest's file system in a process of its own: the libraries are C, and what they read is the guest's.

The child may use so much time and memory and no more, is nobody where vio is root, and opens nothing: it asks for the
bytes of the volume, and is given these.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from vio.errors import MapError
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Walked
from vio.printable import printable

LIMIT_S = 120.0
MAX_MEMORY = 4 << 30
"""Bytes of address space of the child."""
MAX_ANSWER = 2 << 30
MAX_READ = 64 << 20
REQUEST = struct.Struct("<QQ")
"""Offset and length of what is to be read; a length of 0 says that the answer follows, of as many bytes as `offset`."""
COLUMNS = ("start", "length", "owner", "offset")


def walk_apart(kind: str, volume: Content, limit_s: float = LIMIT_S, max_memory: int = MAX_MEMORY) -> Walked:
    """List the files of a volume that holds a file system of this kind, as `vio.mappers.guestfs.volumes` names it.

    Raises:
        MapError: The library refuses it, crashed, or used more than it may.
    """
    ours, theirs = socket.socketpair()
    words = ("-I", "-m", "vio.mappers.guestfs.child", kind, str(theirs.fileno()), str(volume.get_size()))
    limits = (str(int(limit_s) + 1), str(max_memory))
    with contextlib.ExitStack() as stack:
        stack.callback(ours.close)
        stack.callback(theirs.close)
        child = subprocess.Popen(
            [sys.executable, *words, *limits],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C ends a recording; it is not for the child
        )
        stack.callback(_end, child)
        theirs.close()
        deadline_s = time.monotonic() + limit_s
        try:
            return _read_answer(_serve(ours, volume, deadline_s))
        except TimeoutError:
            raise MapError(f"{kind} of the guest: it was not read within {limit_s:g} s: is it damaged?") from None
        except (EOFError, ConnectionError):
            raise MapError(f"{kind} of the guest: its reader {_how_it_ended(child)}: is it damaged?") from None
        except (ValueError, KeyError, TypeError):
            raise MapError(f"{kind} of the guest: its reader gave an answer that makes no sense") from None


def _serve(channel: socket.socket, volume: Content, deadline_s: float) -> bytes:
    """Give the child what it asks for, until it has its answer."""
    while True:
        offset, size = REQUEST.unpack(receive(channel, REQUEST.size, deadline_s))
        if size == 0:
            if offset > MAX_ANSWER:
                raise ValueError
            return receive(channel, offset, deadline_s)
        if size > MAX_READ:
            raise ValueError
        data = volume.read_at(offset, size)
        channel.settimeout(max(0.001, deadline_s - time.monotonic()))
        channel.sendall(data + bytes(size - len(data)))


def receive(channel: socket.socket, size: int, deadline_s: float | None = None) -> bytes:
    """Receive so many bytes; raise EOFError if the other side is gone before."""
    parts: list[bytes] = []
    while size:
        if deadline_s is not None:
            channel.settimeout(max(0.001, deadline_s - time.monotonic()))
        part = channel.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def pack_answer(walked: Walked) -> bytes:
    """Make one piece of bytes of what was found."""
    names = "\0".join(walked.paths).encode("utf-8", "surrogateescape")
    head = {"names": len(walked.paths), "name_bytes": len(names), "rows": len(walked.start)}
    words = json.dumps(head | {"unreadable": walked.unreadable}).encode()
    columns = b"".join(column.tobytes() for column in walked.columns())
    return struct.pack("<I", len(words)) + words + names + columns


def pack_refusal(why: str) -> bytes:
    """Say why there is nothing."""
    words = json.dumps({"refused": why}).encode()
    return struct.pack("<I", len(words)) + words


def _read_answer(data: bytes) -> Walked:
    """Read what a child says, which a hostile volume may have taken over: nothing of it is believed unseen."""
    if len(data) < 4:
        raise ValueError
    at = 4 + int(struct.unpack_from("<I", data)[0])
    head = json.loads(data[4:at])
    if "refused" in head:
        raise MapError(printable(str(head["refused"])[:300]))
    count, name_bytes, rows, unreadable = (head[key] for key in ("names", "name_bytes", "rows", "unreadable"))
    names = data[at : at + name_bytes].decode("utf-8", "surrogateescape").split("\0") if name_bytes else [""] * count
    columns = list(_columns(data, at + name_bytes, rows))
    owner = columns[2]
    if len(names) != count or any(len(column) != rows for column in columns) or not isinstance(unreadable, int):
        raise ValueError
    if rows and not 0 <= int(owner.min()) <= int(owner.max()) < count:
        raise ValueError
    found = [column.tolist() for column in columns]
    return Walked(names, found[0], found[1], found[2], found[3], unreadable)


def _columns(data: bytes, at: int, rows: int) -> "Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]":
    for number in range(len(COLUMNS)):
        yield np.frombuffer(data, dtype=np.int64, count=rows, offset=at + number * rows * 8)


def _how_it_ended(child: subprocess.Popen[bytes]) -> str:
    try:
        status = child.wait(5)
    except subprocess.TimeoutExpired:
        return "stopped answering"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
