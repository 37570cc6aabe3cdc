"""Kinds of range: one base kind in the low nibble, flag bits that may combine with it in the high nibble."""

from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

BASE_MASK = 0x0F
FLAG_MASK = 0xF0


class Kind(IntEnum):
    """Where an IO to the range goes; exactly one of these holds for a range."""

    UNMAPPED = 0
    """Nobody has said: outside the map, or the layer below gives no address."""
    MAPPED = 1
    """The bytes are at the target address."""
    ZERO = 2
    """Reads as zeroes without an IO; a target, if there is one, is where a first write goes."""
    UNALLOCATED = 3
    """A hole: reads the backing file if there is one, else zeroes; a target, if any, is as for ZERO."""
    COMPRESSED = 4
    """The whole range is stored compressed in `target_length` bytes at the target (qcow2)."""
    ENCODED = 5
    """As COMPRESSED, said by a file system; it does not tell the stored length (`target_length` 0)."""
    DELALLOC = 6
    """Dirty in the page cache, no address chosen yet."""
    INLINE = 7
    """Stored among the metadata (in the inode or a tree leaf)."""


class Flag(IntFlag):
    """What else is true of a range; these combine."""

    UNWRITTEN = 0x10
    """Allocated and never written: reads as zeroes, the first write goes to the target."""
    SHARED = 0x20
    """Others share the target, so a write goes elsewhere and an address has several owners."""
    ENCRYPTED = 0x40
    """The target holds ciphertext; the addresses hold all the same."""
    PARTIAL = 0x80
    """Encoded data that the layer below splits: the target is the first part only."""


def base_of(kind: Kinds) -> Kinds:
    """Strip the flag bits."""
    return kind & np.uint8(BASE_MASK)


def is_encoded(kind: Kinds) -> Bools:
    """Tell the ranges whose target does not advance with the offset inside them."""
    base = base_of(kind)
    return np.asarray((base == Kind.COMPRESSED) | (base == Kind.ENCODED), dtype=np.bool_)


def stacked(upper: Kinds, lower: Kinds) -> Kinds:
    """Give the kind of a range seen through two maps, the upper one's target being the lower one's source."""
    above, below = base_of(upper), base_of(lower)
    reads_nothing = (above == Kind.ZERO) | (above == Kind.UNALLOCATED)
    keeps = (below == Kind.MAPPED) | (reads_nothing & ~is_encoded(lower))
    flags = (upper | lower) & np.uint8(FLAG_MASK)
    return np.asarray(np.where(keeps, above, below) | flags, dtype=np.uint8)


def name_of(kind: int) -> str:
    """Spell a kind for people: `MAPPED|UNWRITTEN`."""
    flags = [flag.name or "" for flag in Flag if kind & flag]
    return "|".join([Kind(kind & BASE_MASK).name, *flags])
