"""The process behind a slow disk: a FUSE file that answers one request after the other, each after a set time.

It speaks the kernel's FUSE protocol (include/uapi/linux/fuse.h) over /dev/fuse, so it needs no library. The mount's
root is a regular file; its content is in memory. Delays are read from a small shared file before each request, and each
request is logged with the times at which it came and went: that log is the truth about this device.
"""

import ctypes
import mmap
import os
import stat
import struct
import sys
import time
from pathlib import Path

from vio.errors import HostError

CONTROL = struct.Struct("<qq")
"""Nanoseconds that a read and a write take."""
LOGGED = struct.Struct("<qqqqq")
"""Operation (the FUSE number), offset, bytes, when it came, when it was answered (CLOCK_BOOTTIME)."""
READ, WRITE, FSYNC = 15, 16, 20

_IN_HEADER = struct.Struct("<IIQQIIIHH")
_OUT_HEADER = struct.Struct("<IiQ")
_TRANSFER = struct.Struct("<QQI")  # the head of fuse_read_in and fuse_write_in: handle, offset, size
_WRITE_IN_BYTES = 40
_FORGET, _GETATTR, _SETATTR, _OPEN, _STATFS, _RELEASE, _FLUSH, _INIT = 2, 3, 4, 14, 17, 18, 25, 26
_INTERRUPT, _DESTROY, _BATCH_FORGET = 36, 38, 42
_UNANSWERED = (_FORGET, _INTERRUPT, _BATCH_FORGET)
_DIRECT_IO = 1  # FOPEN_DIRECT_IO: no page cache above the disk
_BIG_WRITES = 1 << 5
_MAX_WRITE = 128 * 1024
_ENOSYS = 38
_LOOK_NS = 100_000_000
_MOUNT_FLAGS = 2 | 4  # MS_NOSUID | MS_NODEV


class Server:
    """Serves one file of `size_bytes` until it is unmounted."""

    def __init__(self, device: int, size_bytes: int, control: mmap.mmap, log: int) -> None:
        self._device = device
        self._size_bytes = size_bytes
        self._control = control
        self._log = log
        self._store = os.memfd_create("slow-disk")
        os.truncate(self._store, size_bytes)

    def serve(self) -> None:
        """Answer requests until the kernel says that the file is unmounted."""
        while True:
            try:
                message = os.read(self._device, _MAX_WRITE + 4096)
            except OSError:  # ENODEV: unmounted
                return
            came_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            _, opcode, unique, *_ = _IN_HEADER.unpack_from(message)
            if opcode in _UNANSWERED:
                continue
            error, answer, place = self._answer(opcode, message[_IN_HEADER.size :], came_ns)
            # Logged before it is answered: who waits for the answer finds it in the log.
            if place:
                went_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                os.write(self._log, LOGGED.pack(opcode, *place, came_ns, went_ns))
            os.write(self._device, _OUT_HEADER.pack(_OUT_HEADER.size + len(answer), -error, unique) + answer)
            if opcode == _DESTROY:
                return

    def _answer(self, opcode: int, body: bytes, came_ns: int) -> tuple[int, bytes, tuple[int, int] | None]:
        """Return the error number, the answer, and for IO the offset and length."""
        if opcode in (READ, WRITE):
            _, offset, size = _TRANSFER.unpack_from(body)
            if opcode == READ:
                answer = os.pread(self._store, size, offset)
            else:
                os.pwrite(self._store, body[_WRITE_IN_BYTES : _WRITE_IN_BYTES + size], offset)
                answer = struct.pack("<II", size, 0)
            self._take_time(opcode, came_ns)
            return 0, answer, (offset, size)
        if opcode == FSYNC:
            return 0, b"", (0, 0)
        if opcode == _INIT:
            return 0, _init_answer(body), None
        if opcode in (_GETATTR, _SETATTR):
            return 0, struct.pack("<QII", 1, 0, 0) + self._attributes(), None
        if opcode == _OPEN:
            return 0, struct.pack("<QIi", 1, _DIRECT_IO, 0), None
        if opcode == _STATFS:
            return 0, bytes(80), None
        return (0 if opcode in (_RELEASE, _FLUSH, _DESTROY) else _ENOSYS), b"", None

    def _take_time(self, opcode: int, came_ns: int) -> None:
        """Sleep until a request has taken its time, as it is set: who shortens it lets waiting requests go."""
        while True:
            service_ns = CONTROL.unpack_from(self._control)[0 if opcode == READ else 1]
            left_ns = came_ns + service_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if left_ns <= 0:
                return
            time.sleep(min(left_ns, _LOOK_NS) / 1e9)

    def _attributes(self) -> bytes:
        blocks = self._size_bytes // 512
        mode = stat.S_IFREG | 0o600
        return struct.pack("<6Q10I", 1, self._size_bytes, blocks, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _init_answer(body: bytes) -> bytes:
    major, minor, read_ahead = struct.unpack_from("<III", body)
    head = struct.pack("<IIIIHHIIHHI", major, min(minor, 31), read_ahead, _BIG_WRITES, 16, 12, _MAX_WRITE, 1, 32, 0, 0)
    return head + bytes(64 - len(head))


def mount(device: int, file: Path) -> None:
    """Mount the FUSE connection `device` over the regular file `file`."""
    library = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode={stat.S_IFREG:o},user_id=0,group_id=0,allow_other"
    if library.mount(b"slow-disk", os.fsencode(file), b"fuse", _MOUNT_FLAGS, options.encode()):
        raise HostError(f"cannot mount a FUSE file: {os.strerror(ctypes.get_errno())}", "be root, with /dev/fuse")


def main(file: str, size_bytes: str, control: str, log: str) -> int:
    """Mount over `file` and serve it."""
    with Path(control).open("r+b") as shared:
        delays = mmap.mmap(shared.fileno(), CONTROL.size)
    logging = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    device = os.open("/dev/fuse", os.O_RDWR)
    mount(device, Path(file))
    Server(device, int(size_bytes), delays, logging).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
