"""Read the maps of a running bpftrace by the kernel's own calls: many entries at once, taken out as they are read.

BPF_MAP_LOOKUP_AND_DELETE_BATCH came to hash maps with Linux commit 057996380a42 ("bpf: Add batch ops to all htab bpf
map") (in v5.6). The kernel holds a bucket's lock while it copies and removes, so no entry is seen half written.
"""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vio.recorder.bpfcall import bpf, descriptors

U64 = npt.NDArray[np.uint64]

_CREATE, _DELETE, _GET_FD_BY_ID, _LOOK_BATCH, _TAKE_BATCH = 0, 3, 14, 24, 25
_HASH = 1
_WORD_BYTES = 8


class _Create(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("type", "key_size", "value_size", "max_entries", "flags"))


class _ById(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("id", "next_id", "open_flags"))


class _Entry(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint64),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class Batch(ctypes.Structure):
    """What the kernel's calls on many entries at once take."""

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


@dataclass(frozen=True, slots=True)
class MapShape:
    """What the kernel says of a hash map; its keys and values are whole 64-bit words."""

    id: int
    key_words: int
    value_words: int
    entries: int


class BpfMap:
    """A hash map with keys and values made of 64-bit words; it stays, with what is in it, while this is open."""

    def __init__(self, fd: int, key_words: int, value_words: int, room: int) -> None:
        self.fd = fd
        self._keys = np.empty((room, key_words), np.uint64)
        self._values = np.empty((room, value_words), np.uint64)
        self._place = ctypes.c_uint64()

    def close(self) -> None:
        """Let it go."""
        os.close(self.fd)

    def take(self) -> Iterator[tuple[U64, U64]]:
        """Take all entries out; yield keys and values (`[entry, word]`), which are overwritten by the next.

        Raises:
            OSError: the kernel cannot do that.
        """
        return self._batches(_TAKE_BATCH)

    def look(self) -> Iterator[tuple[U64, U64]]:
        """Yield all entries like `take`, and leave them where they are."""
        return self._batches(_LOOK_BATCH)

    def remove(self, key: U64) -> None:
        """Remove one entry."""
        bpf(_DELETE, _Entry(self.fd, key.ctypes.data))

    def _batches(self, command: int) -> Iterator[tuple[U64, U64]]:
        place = ctypes.addressof(self._place)
        batch = Batch(0, place, self._keys.ctypes.data, self._values.ctypes.data, fd=self.fd)
        is_last = False
        while not is_last:
            batch.count = len(self._keys)
            try:
                bpf(command, batch)
            except FileNotFoundError:
                is_last = True  # the end of the map has come, with some entries or none
            batch.from_ = place
            if batch.count:
                yield self._keys[: batch.count], self._values[: batch.count]


def hash_maps(process: Path) -> Iterator[MapShape]:
    """Yield the hash maps that a process (its directory in /proc) holds, if made of 64-bit words."""
    for values in descriptors(process):
        numbers = (values.get(name, "") for name in ("map_id", "map_type", "key_size", "value_size", "max_entries"))
        shape = [int(number) for number in numbers if number.isdigit()]
        if len(shape) == 5 and shape[1] == _HASH and not (shape[2] % _WORD_BYTES or shape[3] % _WORD_BYTES):
            yield MapShape(shape[0], shape[2] // _WORD_BYTES, shape[3] // _WORD_BYTES, shape[4])


def open_map(shape: MapShape, room: int = 1 << 16) -> BpfMap:
    """Open a map, to take `room` entries at a time.

    Raises:
        OSError: it is gone, or the kernel does not allow it.
    """
    return BpfMap(bpf(_GET_FD_BY_ID, _ById(shape.id)), shape.key_words, shape.value_words, room)


def new_map(key_words: int, value_words: int, entries: int) -> BpfMap:
    """Make a map, to take one entry at a time.

    Raises:
        OSError: the kernel does not allow it.
    """
    form = _Create(_HASH, _WORD_BYTES * key_words, _WORD_BYTES * value_words, entries, 0)
    return BpfMap(bpf(_CREATE, form), key_words, value_words, 1)


def can_take() -> bool:
    """Ask the kernel whether it can take entries out of a hash map many at a time."""
    try:
        one = new_map(1, 1, 1)
    except OSError:
        return False
    try:
        return not list(one.take())
    except OSError:
        return False
    finally:
        one.close()
