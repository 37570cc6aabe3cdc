"""Read the maps of a running bpftrace by the kernel's own calls: many entries at once, taken out as they are read.

BPF_MAP_LOOKUP_AND_DELETE_BATCH came to hash maps with Linux commit 057996380a42 ("bpf: Add batch ops to all htab bpf
map") (in v5.6). The kernel holds a bucket's lock while it copies and removes, so no entry is seen half written.
"""

import contextlib
import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

SYSCALL_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
U64 = npt.NDArray[np.uint64]

_CREATE, _GET_FD_BY_ID, _OBJECT_INFO, _TAKE_BATCH = 0, 14, 15, 25
_HASH = 1
_NAME_AT = 24  # struct bpf_map_info: six numbers of 32 bits, then the name
_NAME_BYTES = 16
_libc = ctypes.CDLL(None, use_errno=True)


class _Create(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("type", "key_size", "value_size", "max_entries", "flags"))


class _ById(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("id", "next_id", "open_flags"))


class _Info(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_uint32), ("length", ctypes.c_uint32), ("info", ctypes.c_uint64))


class _Batch(ctypes.Structure):
    _fields_ = (
        ("from_", ctypes.c_uint64),
        ("to", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("fd", ctypes.c_uint32),
        ("element_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class BpfMap:
    """A hash map with keys and values made of 64-bit words; it stays, with what is in it, while this is open."""

    def __init__(self, fd: int, key_words: int, value_words: int, room: int) -> None:
        self._fd = fd
        self._keys = np.empty((room, key_words), np.uint64)
        self._values = np.empty((room, value_words), np.uint64)
        self._place = ctypes.c_uint64()
        self._number = _number()

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)

    def take(self) -> Iterator[tuple[U64, U64]]:
        """Take all entries out; yield keys and values (`[entry, word]`), which are overwritten by the next.

        Raises:
            OSError: the kernel cannot do that.
        """
        place = ctypes.addressof(self._place)
        batch = _Batch(0, place, self._keys.ctypes.data, self._values.ctypes.data, fd=self._fd)
        is_last = False
        while not is_last:
            batch.count = len(self._keys)
            if _libc.syscall(self._number, _TAKE_BATCH, ctypes.byref(batch), ctypes.sizeof(batch)) != 0:
                error = ctypes.get_errno()
                # the end of the map has come, with some entries or none
                is_last = error == errno.ENOENT
                if not is_last:
                    raise OSError(error, os.strerror(error))
            batch.from_ = place
            if batch.count:
                yield self._keys[: batch.count], self._values[: batch.count]


def find_map(process: Path, name: str, key_words: int, value_words: int, room: int = 1 << 16) -> BpfMap | None:
    """Find bpftrace's map `@name` among those that a process (its directory in /proc) holds; None if it has none."""
    for values in _descriptors(process):
        shape = (values.get("key_size"), values.get("value_size"))
        if "map_id" not in values or shape != (str(8 * key_words), str(8 * value_words)):
            continue
        with contextlib.suppress(OSError):
            fd = _call(_GET_FD_BY_ID, _ById(int(values["map_id"])))
            if _name(fd) == f"AT_{name}":
                return BpfMap(fd, key_words, value_words, room)
            os.close(fd)
    return None


def can_take() -> bool:
    """Ask the kernel whether it can take entries out of a hash map many at a time."""
    try:
        fd = _call(_CREATE, _Create(_HASH, 8, 8, 1, 0))
    except OSError:
        return False
    one = BpfMap(fd, 1, 1, 1)
    try:
        return not list(one.take())
    except OSError:
        return False
    finally:
        one.close()


def _descriptors(process: Path) -> Iterator[dict[str, str]]:
    for entry in (process / "fdinfo").iterdir():
        with contextlib.suppress(OSError):
            lines = (line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
            yield {name: value.strip() for name, value in lines}


def _name(fd: int) -> str:
    info = ctypes.create_string_buffer(_NAME_AT + _NAME_BYTES)
    _call(_OBJECT_INFO, _Info(fd, len(info), ctypes.addressof(info)))
    return info.raw[_NAME_AT:].split(b"\0")[0].decode(errors="replace")


def _call(command: int, attribute: ctypes.Structure) -> int:
    done = _libc.syscall(_number(), command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(done)


def _number() -> int:
    number = SYSCALL_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return number
