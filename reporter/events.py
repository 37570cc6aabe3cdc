"""A window of events as arrays, in order of time, and the events of each point in it."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, Keys, are_of, order_by_point

Words32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of schema.EVENTS, of equal length, ordered by `ts_ns`."""

    ts_ns: Ints
    point: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint16]
    tid: npt.NDArray[np.int32]
    space: Words32
    bytes: Ints
    offset: Ints
    key: Keys
    aux: Words32

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.ts_ns.size)

    def take(self, which: Ints | Bools) -> "Events":
        """Return the chosen events."""
        if which.dtype == np.bool_:
            which = np.flatnonzero(which)  # once, not for each column
        return Events(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def joined(self, other: "Events") -> "Events":
        """Return both sets in order of time."""
        both = {f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        if not len(self) or not len(other) or self.ts_ns[-1] <= other.ts_ns[0]:
            return Events(**both)
        order = np.argsort(both["ts_ns"], kind="stable")
        return Events(**{name: column[order] for name, column in both.items()})

    @classmethod
    def empty(cls) -> "Events":
        """Return no events."""
        ints, keys = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
        words = np.empty(0, dtype=np.uint32)
        small, flags, tid = np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.uint16), np.empty(0, dtype=np.int32)
        return cls(ints, small, flags, tid, words, ints, ints, keys, words)


class Window:
    """Events with an index by point name; what a point without events gives is an empty array."""

    def __init__(self, events: Events, points: dict[str, int]) -> None:
        self.events = events
        self._number = points
        order, bounds = order_by_point(events.point)
        self._among: dict[tuple[str, ...], Ints] = {}
        self._of = {name: order[bounds[number] : bounds[number + 1]] for name, number in points.items()}

    def at(self, *names: str) -> Ints:
        """Return the indices of the events of these points, ascending."""
        if names not in self._among:
            found = [self._of[name] for name in names if name in self._of and self._of[name].size]
            if len(found) > 1:
                self._among[names] = np.sort(np.concatenate(found), kind="stable")
            else:
                self._among[names] = found[0] if found else np.empty(0, dtype=np.int64)
        return self._among[names]

    def observes(self, *names: str) -> bool:
        """Tell whether any of these points was recorded at all, with or without events here."""
        return any(name in self._number for name in names)

    def number(self, name: str) -> int:
        """Return the number of a point; 0, which no point has, where it was not recorded."""
        return self._number.get(name, 0)

    def is_at(self, event: Ints, *names: str) -> Bools:
        """Return which of the events are of these points; an index of -1 is none."""
        there = [self._number[name] for name in names if name in self._of and self._of[name].size]
        if not there or not event.size:
            return np.zeros(event.size, dtype=np.bool_)
        wanted = np.zeros(256, dtype=np.bool_)
        wanted[there] = True
        return are_of(self.events.point, event, wanted)
