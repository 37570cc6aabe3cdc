"""The form of a record, and the marked entry by which a map of records is known, whatever bpftrace makes of it. Pure.

A map's name, its sizes and the order within its entries are bpftrace's own affair. So BEGIN stores an entry in which
each word has a value of its own, and vio looks for it: where they stand, there the words of all records stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KEY_WORDS = 2  # of 64 bits: batch key, number
WORDS = 5  # of 64 bits: time; aux|flags|point; space|bytes; offset; key
# u: uprobes, by thread; t: the kernel's probes, by CPU (fentry: by CPU and point); r: rare ones, one a line, with the
# the same keys
STREAMS = {"u": 1, "t": 2, "r": 3}
_MARK = int.from_bytes(b"viomark\0", "big")  # no thread, CPU or pointer, and positive in 64 bits
_U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Layout:
    """The places, in 64-bit words, of a record's words in a map's keys and values."""

    key: tuple[int, ...]
    value: tuple[int, ...]


def marks(stream: str) -> tuple[int, ...]:
    """Return the words that mark a stream's map: those of the key, then those of the value."""
    return tuple(_MARK + STREAMS[stream] * 16 + place for place in range(KEY_WORDS + WORDS))


def find_mark(keys: _U64, values: _U64, stream: str) -> tuple[int, Layout] | None:
    """Find the marked entry among entries (`[entry, word]`): its number, and where its words stand.

    None if it is not there, or not so that each word is there once.
    """
    wanted = marks(stream)
    for entry in np.flatnonzero((keys == wanted[0]).any(axis=1)).tolist():
        key, value = _places(keys[entry], wanted[:KEY_WORDS]), _places(values[entry], wanted[KEY_WORDS:])
        if key and value:
            return entry, Layout(key, value)
    return None


def _places(words: _U64, wanted: Sequence[int]) -> tuple[int, ...]:
    places = [np.flatnonzero(words == mark).tolist() for mark in wanted]
    return tuple(at[0] for at in places) if all(len(at) == 1 for at in places) else ()
