"""For how long each thread was not asleep, by the kernel's switches and wakings: as many slots for any recording."""

from dataclasses import dataclass, field

import numpy as np

from vio.reporter.compiled import Ints, compiled
from vio.reporter.moves import WAKING, Moves
from vio.reporter.runs import codes_in

_SLOTS = 4096
_FIRST_SLOT_NS = 1_000_000
_ASLEEP, _NEW = -1, -2
_STATES = 0xFF  # of a task that is switched out: 0 is runnable


@dataclass(slots=True)
class Busy:
    """Time (ns) in which threads ran or could run, by slot; slots double in length whenever there would be too many."""

    from_ns: int = 0
    slot_ns: int = _FIRST_SLOT_NS
    _awake_ns: dict[int, Ints] = field(default_factory=dict)
    _since_ns: dict[int, int] = field(default_factory=dict)

    def add(self, moves: Moves) -> None:
        """Count the moves of the next window, in order of time."""
        mine = np.flatnonzero(moves.kind <= WAKING)
        if not mine.size:
            return
        self.from_ns = self.from_ns or int(moves.ts_ns[mine[0]])
        while (int(moves.ts_ns[mine[-1]]) - self.from_ns) // self.slot_ns >= _SLOTS:
            self._widen()
        tids = moves.threads
        since_ns = np.array([self._since_ns.get(one, _NEW) for one in tids.tolist()], dtype=np.int64)
        awake_ns = np.zeros((tids.size, _SLOTS), dtype=np.int64)
        columns = moves.ts_ns, moves.kind, codes_in(tids, moves.tid), codes_in(tids, moves.other), moves.flags
        _follow(mine, *columns, since_ns, awake_ns, self.from_ns, self.slot_ns)
        for place, one in enumerate(tids.tolist()):
            self._since_ns[one] = int(since_ns[place])
            before = self._awake_ns.get(one)
            self._awake_ns[one] = awake_ns[place] if before is None else before + awake_ns[place]

    def share(self, tid: int, from_ns: int, to_ns: int) -> float:
        """Return for how much of a stretch of time (CLOCK_BOOTTIME) a thread was awake; to the slots around it."""
        if tid not in self._awake_ns:
            return 0.0
        begin_ns, end_ns = max(from_ns - self.from_ns, 0), max(to_ns - self.from_ns, 0)
        first, last = begin_ns // self.slot_ns, end_ns // self.slot_ns
        awake_ns = int(self._awake_ns[tid][first : last + 1].sum())
        since_ns = self._since_ns[tid]
        if since_ns >= 0:  # it still ran at the end
            awake_ns += max(end_ns - max(since_ns, begin_ns), 0)
        return min(awake_ns / ((last - first + 1) * self.slot_ns), 1.0)

    def _widen(self) -> None:
        self.slot_ns *= 2
        for tid, awake_ns in self._awake_ns.items():
            pairs = awake_ns.reshape(-1, 2).sum(axis=1)
            self._awake_ns[tid] = np.concatenate([pairs, np.zeros_like(pairs)])


@compiled
def _follow(
    mine: Ints,
    ts_ns: Ints,
    kind: Ints,
    tid: Ints,
    other: Ints,
    flags: Ints,
    since_ns: Ints,
    awake_ns: Ints,
    from_ns: int,
    slot_ns: int,
) -> None:
    """Follow threads (-1: of no interest) from waking to sleep; who is seen to leave first was awake from the start."""
    for i in mine:
        now, comes, leaves = ts_ns[i] - from_ns, other[i], tid[i]
        if comes >= 0 and since_ns[comes] < 0:
            since_ns[comes] = now
        if kind[i] == WAKING or leaves < 0 or not flags[i] & _STATES:
            continue
        at = 0 if since_ns[leaves] == _NEW else since_ns[leaves]
        while 0 <= at < now:
            slot = at // slot_ns
            end = min((slot + 1) * slot_ns, now)
            if slot < awake_ns.shape[1]:
                awake_ns[leaves, slot] += end - at
            at = end
        since_ns[leaves] = _ASLEEP
