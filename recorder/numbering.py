"""Find the records that never arrived: each thread's (or CPU's) records are numbered from 1, in the kernel. Pure.

The kernel's map is read in passes. While one goes on more is put in: behind it, which the next pass finds, or before
it, which it finds itself. So a pass may find number 8 and not 7. But 7 was there before 8: it is found by the next
pass at the latest, or it was never stored.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.recorder.sequence import NO_TIME, Gap

U64 = npt.NDArray[np.uint64]


@dataclass(slots=True)
class _Early:
    """Records that have come while one before them had not: numbers, and times in ns."""

    number: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    time_ns: U64 = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass(slots=True)
class Numbering:
    """One batch key's records: all up to `settled` have come or are in `gaps`; `highest` is the highest seen."""

    settled: int = 0
    highest: int = 0
    newest_ns: int = NO_TIME
    gaps: list[Gap] = field(default_factory=list)
    _early: _Early = field(default_factory=_Early)

    def take(self, number: U64, time_ns: U64) -> None:
        """Note the records of one pass, in the order of time; it may have found none."""
        count, first = len(number), self.settled + 1
        if not len(self._early.number) and count and number[0] == first and number[-1] == first + count - 1:
            self.settled = self.highest = int(number[-1])
            self.newest_ns = int(time_ns[-1])
            return
        before = self.highest
        found = np.concatenate([self._early.number, number])
        times = np.concatenate([self._early.time_ns, time_ns])
        order = np.argsort(found, kind="stable")
        self._settle(found[order], times[order], before)

    @property
    def is_waiting(self) -> bool:
        """Tell whether a record has come and one before it has not."""
        return bool(len(self._early.number))

    def end(self, final: int, to_ns: int) -> None:
        """Say the last number that the kernel gave: what is above the highest seen is missing."""
        self._settle(self._early.number, self._early.time_ns, self.highest)
        if final > self.settled:
            self.gaps.append(Gap(self.settled + 1, final, self.newest_ns, to_ns))
            self.settled = final

    def _settle(self, found: U64, times: U64, before: int) -> None:
        """Go over what was found behind `settled`; a hole below `before` has had its second pass, and is a gap."""
        is_new = found > self.settled
        found, times = found[is_new], times[is_new]
        if not len(found):
            return
        end = len(found)
        for at in np.flatnonzero(np.diff(found, prepend=np.uint64(self.settled)) > 1).tolist():
            first, last = int(found[at - 1]) + 1 if at else self.settled + 1, int(found[at]) - 1
            if last > before:
                end = at
                break
            self.gaps.append(Gap(first, last, int(times[at - 1]) if at else self.newest_ns, int(times[at])))
        if end:
            self.settled, self.newest_ns = int(found[end - 1]), int(times[end - 1])
        self.highest = max(self.highest, int(found[-1]))
        self._early = _Early(found[end:], times[end:])


class NumberBook:
    """All numberings, by stream and batch key."""

    def __init__(self) -> None:
        self.numberings: dict[tuple[int, int], Numbering] = {}

    def get(self, stream: int, key: int) -> Numbering:
        """Return a key's numbering; a new one if nothing has come from it."""
        return self.numberings.setdefault((stream, key), Numbering())

    def take_pass(self, stream: int, key: U64, number: U64, time_ns: U64) -> None:
        """Note one pass over a stream's map: all that it found, sorted by time."""
        seen: set[int] = set()
        if len(key) and (key == key[0]).all():
            self.get(stream, int(key[0])).take(number, time_ns)
            seen.add(int(key[0]))
        else:
            order = np.argsort(key, kind="stable")
            for which in np.split(order, np.flatnonzero(np.diff(key[order]) != 0) + 1) if len(key) else ():
                one = int(key[which[0]])
                self.get(stream, one).take(number[which], time_ns[which])
                seen.add(one)
        for (of, one), numbering in self.numberings.items():
            if of == stream and one not in seen and numbering.is_waiting:
                numbering.take(number[:0], time_ns[:0])
