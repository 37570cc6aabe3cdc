"""What is counted apart: whose IOs, at which level, and what they do, in one number. Pure.

The kernel's maps are keyed by it: `id << 16 | level << 13 | op << 10`, and below that the bucket of a time.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from vio.layer import Op

_ID, _LEVEL, _OP = 16, 13, 10
_LOW_OP = (1 << (_LEVEL - _OP)) - 1
_LOW_LEVEL = (1 << (_ID - _LEVEL)) - 1
_LOW_BUCKET = (1 << _OP) - 1
FLUSH = 3


class Level(IntEnum):
    """Where an IO is counted, top to bottom. The id is of BlockAcctStats, of QEMU's node, or a device's number."""

    QEMU_DEVICE = 1
    QEMU_BLOCK = 2
    QEMU_AIO = 3
    BLOCK = 4
    DEVICE = 5


_LEVELS = frozenset(Level)
OPS = {1: Op.READ, 2: Op.WRITE, FLUSH: Op.FLUSH, 4: Op.DISCARD}


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """What is counted together."""

    id: int
    level: Level
    op: Op


def slot_text(of: str, level: Level, op: str) -> str:
    """Return the expression of the program for a slot with bucket 0."""
    return f"((uint64)({of}) << (uint64){_ID}) | (uint64){level << _LEVEL} | ({op} << (uint64){_OP})"


def read_slot(number: int) -> tuple[Slot, int] | None:
    """Return the slot and the bucket of a key; None for one that is neither (as the 0 that gives a map its type)."""
    level = number >> _LEVEL & _LOW_LEVEL
    if level not in _LEVELS:
        return None
    op = OPS.get(number >> _OP & _LOW_OP, Op.OTHER)
    return Slot(number >> _ID, Level(level), op), number & _LOW_BUCKET


def to_aio(slot: Slot) -> Slot:
    """Return the slot of what a call into the block layer hands to the kernel."""
    return replace(slot, level=Level.QEMU_AIO)
