"""What threads do, as the kernel's scheduler, QEMU and KVM tell of it: taken out of a window's events in one pass."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Bytes, Ints, Keys, compiled
from vio.reporter.events import Events, Words32
from vio.reporter.runs import distinct

SWITCH, WAKING, KICK, NOTIFY, MSI, INJECT = range(6)
OTHERS = 255
"""The kind of all that tells of no thread."""

_Flags = npt.NDArray[np.uint16]
_Tids = npt.NDArray[np.int32]
_Columns = tuple[Ints, Bytes, _Flags, _Tids, Words32, Ints, Ints, Keys, Words32]  # as Events has them


@dataclass(frozen=True)
class Moves:
    """What happened to threads, in order of time.

    SWITCH: from `tid` to `other` (0: of no interest), `flags` the state that `tid` is left in. WAKING: `tid` wakes
    `other`, `flags` the context. KICK: `tid` begins to handle a virtqueue. NOTIFY: `tid` tells the guest; MSI: it sends
    an interrupt; INJECT: a virtual CPU takes it; `other` is the vector.
    """

    ts_ns: Ints
    kind: Ints
    tid: Ints
    other: Ints
    flags: Ints

    def __len__(self) -> int:
        """Return the number of moves."""
        return int(self.ts_ns.size)

    @cached_property
    def threads(self) -> Ints:
        """The threads that are switched or woken, ascending."""
        found = distinct(np.concatenate([self.tid[self.kind == SWITCH], self.other[self.kind <= WAKING]]))
        return found[found > 0]

    def take(self, which: slice | Bools) -> "Moves":
        """Return the chosen ones."""
        chosen = which if isinstance(which, slice) else np.flatnonzero(which)  # once, not for each column
        return Moves(*(getattr(self, f.name)[chosen] for f in fields(self)))

    @classmethod
    def joined(cls, parts: list["Moves"]) -> "Moves":
        """Return the moves of all parts, each of which follows the one before."""
        none = np.empty(0, np.int64)
        every = [cls(none, none, none, none, none), *parts]
        return cls(*(np.concatenate([getattr(one, f.name) for one in every]) for f in fields(cls)))


def split(events: Events, kinds: Bytes) -> tuple[Events, Moves]:
    """Return the events that are of use to others, and the moves; `kinds` are those of the 256 points."""
    rest, moves = _split(
        kinds,
        *(events.ts_ns, events.point, events.flags, events.tid, events.space),
        *(events.bytes, events.offset, events.key, events.aux),
    )
    return Events(*rest), Moves(*moves)


@compiled
def _split(
    kinds: Bytes,
    ts_ns: Ints,
    point: Bytes,
    flags: _Flags,
    tid: _Tids,
    space: Words32,
    size: Ints,
    offset: Ints,
    key: Keys,
    aux: Words32,
) -> tuple[_Columns, Ints]:
    """Return the columns of the other events and of those that the join reads too, and the rows of the moves."""
    count = others = 0
    for one in point:
        kind = kinds[one]
        count += kind != OTHERS
        others += kind in (OTHERS, KICK, NOTIFY)
    moves = np.empty((5, count), np.int64)
    to_ts, to_point, to_flags = np.empty(others, np.int64), np.empty(others, np.uint8), np.empty(others, np.uint16)
    to_tid, to_space, to_size = np.empty(others, np.int32), np.empty(others, np.uint32), np.empty(others, np.int64)
    to_offset, to_key, to_aux = np.empty(others, np.int64), np.empty(others, np.uint64), np.empty(others, np.uint32)
    count = others = 0
    for i in range(point.size):
        kind = kinds[point[i]]
        if kind != OTHERS:
            moves[0, count], moves[1, count], moves[4, count] = ts_ns[i], kind, flags[i]
            moves[2, count] = space[i] if kind == SWITCH else tid[i]
            moves[3, count] = key[i] & np.uint64(0xFFFFFFFF)
            count += 1
        if kind in (OTHERS, KICK, NOTIFY):
            to_ts[others], to_point[others], to_flags[others] = ts_ns[i], point[i], flags[i]
            to_tid[others], to_space[others], to_size[others] = tid[i], space[i], size[i]
            to_offset[others], to_key[others], to_aux[others] = offset[i], key[i], aux[i]
            others += 1
    return (to_ts, to_point, to_flags, to_tid, to_space, to_size, to_offset, to_key, to_aux), moves
