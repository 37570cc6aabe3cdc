"""Waiting that is nobody's code, window by window: for a CPU, stopped, to be woken, for the guest's kick.

The join knows nothing of it: the scheduler's events are taken out before, and what it gives is read afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vio.layer import Stage
from vio.losses import Loss, LossKind
from vio.manifest import Manifest
from vio.manifestfile import LAST_NS
from vio.reporter.busy import Busy
from vio.reporter.columns import nullable
from vio.reporter.compiled import Bools, Ints, compiled
from vio.reporter.events import Events
from vio.reporter.inject import inject_waits
from vio.reporter.join import Joined
from vio.reporter.moves import INJECT, KICK, MSI, NOTIFY, OTHERS, SWITCH, WAKING, Moves, split
from vio.reporter.offcpu import Lives, charge
from vio.reporter.runs import (
    FROM_NS,
    KICK_NS,
    NEXT_KICK_NS,
    WAKER,
    Runs,
    code_of,
    codes_in,
    latest_waking,
)
from vio.reporter.stretches import Follower

_NONE = -1
SCHED_POINTS = "sched_switch", "sched_waking"
_MOVES = {
    "sched_switch": SWITCH,
    "sched_waking": WAKING,
    "vq_kick": KICK,
    "notify": NOTIFY,
    "notify_main": NOTIFY,
    "kvm_msi": MSI,
    "kvm_inject": INJECT,
}
_VCPU = "vcpu"
_BEFORE_NS = 1_000_000_000  # kept from before the oldest IO in flight: what its thread did last
_MOST_KEPT = 1 << 18  # stretches and notifications, where an IO hangs and others go on


class Wait(StrEnum):
    """What an IO waits for. The first are parts of its stages' own times, KICK is before its begin, INJECT after."""

    RUNQUEUE = "runqueue"
    STOPPED = "stopped"
    WAKEUP = "wakeup"
    KICK = "kick"
    INJECT = "inject"

    @property
    def column(self) -> str:
        """The column of the per-IO table."""
        return f"{self.value}_ns"


WITHIN = (Wait.RUNQUEUE, Wait.STOPPED, Wait.WAKEUP)
OUTSIDE = (Wait.KICK, Wait.INJECT)


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of IOs in ns: `within` (WITHIN, stages, IOs) of their own times, and those OUTSIDE, -1 for not known.

    `totals` (WITHIN, IOs) are those of all stages.
    """

    within: Ints
    totals: Ints
    outside: Mapping[Wait, Ints]
    is_known: Bools

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of the per-IO table."""
        found = {wait.column: _nullable(self.totals[number], self.is_known) for number, wait in enumerate(WITHIN)}
        return found | {
            wait.column: _nullable(values, self.is_known & (values >= 0)) for wait, values in self.outside.items()
        }

    def take(self, which: Ints | Bools) -> "Waits":
        """Return those of some IOs."""
        outside = {wait: values[which] for wait, values in self.outside.items()}
        return Waits(self.within[:, :, which], self.totals[:, which], outside, self.is_known[which])


def no_columns(count: int) -> dict[str, pa.Array]:
    """Return the columns where nothing was recorded."""
    return {wait.column: pa.nulls(count, pa.int64()) for wait in Wait}


@dataclass(slots=True)
class WaitReader:
    """Takes the scheduler's events of a recording's windows, in order, and gives each window's IOs their waits."""

    kinds: npt.NDArray[np.uint8]
    vcpus: Ints
    workers: Ints
    blind: Sequence[tuple[int, int]] = ()
    busy: Busy = field(default_factory=Busy)
    _follower: Follower = field(default_factory=Follower)
    _told: Moves = field(default_factory=lambda: Moves.joined([]))
    _known_ns: int = 0

    @classmethod
    def of(cls, manifest: Manifest, losses: Sequence[Loss]) -> "WaitReader | None":
        """Make one, if the recording has the events; what a trace buffer lost makes it blind for a while."""
        number = {point.name: point.number for point in manifest.points}
        if not all(name in number for name in SCHED_POINTS):
            return None
        kinds = np.full(256, OTHERS, np.uint8)
        for name, kind in _MOVES.items():
            kinds[number.get(name, 0)] = kind
        kinds[0] = OTHERS  # no point has this number
        vcpus = _ids(tid for tid, role in manifest.target.threads.items() if role == _VCPU)
        lost = [loss for loss in losses if loss.kind == LossKind.BUFFER and loss.where.startswith("trace buffer")]
        blind = [(loss.from_ns, loss.to_ns) for loss in lost]
        return cls(kinds, vcpus, _ids(manifest.workers), blind)

    def split(self, events: Events) -> tuple[Events, Moves]:
        """Take the scheduler's events out of a window; return the others, and them as the threads' moves."""
        return split(events, self.kinds)

    def add(self, joined: Joined, moves: Sequence[Moves]) -> Waits:
        """Return the waits of the IOs that are done in a window; `moves` are those since the last, up to now."""
        for some in moves:
            self.busy.add(some)
            self._follower.add(some)
        self._told = Moves.joined([self._told, *(some.take(some.kind >= NOTIFY) for some in moves)])
        rows = np.flatnonzero(joined.is_done)
        ios, ev, spans = joined.ios, joined.window.events, joined.spans
        begin, notify = ios.begin[rows], ios.notify[rows]
        first_ns = int(ev.ts_ns[begin].min()) if rows.size else LAST_NS
        runs = self._follower.runs(first_ns - _BEFORE_NS)
        of_io = joined.times.first, joined.times.order
        lives = Lives(ios.begin, ios.end, *of_io, spans.stage, spans.begin, spans.end)
        within = np.zeros((len(WITHIN), len(Stage), rows.size), np.int64)
        tid = ev.tid.astype(np.int64)
        charge(within, rows, lives, ev.ts_ns, tid, runs, self.workers)
        kick = np.full(rows.size, _NONE)
        kicks(kick, ev.ts_ns[begin], tid[begin], self.vcpus, runs)
        told = np.where(notify >= 0, ev.ts_ns[notify], _NONE)
        inject = inject_waits(self._told, told, tid[notify])
        is_known = (ios.end[rows] >= 0) & (ev.ts_ns[begin] >= self._known_ns)
        self._blind(is_known, ev.ts_ns[begin], ev.ts_ns[ios.end[rows]])
        self._forget(joined)
        return Waits(within, within.sum(axis=1), {Wait.KICK: kick, Wait.INJECT: inject}, is_known)

    def _blind(self, is_known: Bools, begin_ns: Ints, end_ns: Ints) -> None:
        for from_ns, to_ns in self.blind:
            is_known &= (end_ns < from_ns) | (begin_ns > to_ns)

    def _forget(self, joined: Joined) -> None:
        ev = joined.window.events
        if not len(ev):
            return
        waiting = joined.ios.begin[~joined.is_done]
        oldest_ns = int(ev.ts_ns[waiting.min()] if waiting.size else ev.ts_ns[-1]) - _BEFORE_NS
        self._known_ns = max(self._known_ns, self._follower.forget(oldest_ns, _MOST_KEPT))
        first = max(int(np.searchsorted(self._told.ts_ns, oldest_ns)), len(self._told) - _MOST_KEPT)
        self._told = self._told.take(slice(first, None))


@compiled
def kicks(found: Ints, begin_ns: Ints, tid: Ints, vcpus: Ints, runs: Runs) -> None:
    """Find how long before each IO's begin the guest's kick had woken its thread; left where that cannot be said.

    It can where a virtual CPU woke the thread, and the IO was taken from the first virtqueue that it handled then.
    """
    codes, first, table = codes_in(runs.tids, tid), runs.first, runs.table
    for i in range(begin_ns.size):
        code = codes[i]
        woke = latest_waking(first, table, code, begin_ns[i]) if code >= 0 else _NONE
        if woke < 0 or code_of(vcpus, table[WAKER, woke]) < 0:
            continue
        kick_ns, next_ns = table[KICK_NS, woke], table[NEXT_KICK_NS, woke]
        if 0 <= kick_ns <= begin_ns[i] and (next_ns < 0 or next_ns > begin_ns[i]):
            found[i] = begin_ns[i] - table[FROM_NS, woke]


def stage_waits(waits: Waits, row: int) -> Mapping[Stage, Mapping[Wait, int]]:
    """Return the waits of one IO by stage, those that are not 0."""
    found: dict[Stage, dict[Wait, int]] = {}
    for place, stage in enumerate(Stage):
        for number, wait in enumerate(WITHIN):
            if time_ns := int(waits.within[number, place, row]):
                found.setdefault(stage, {})[wait] = time_ns
    return found


def _ids(tids: Iterable[str]) -> Ints:
    return np.array(sorted(int(tid) for tid in tids if tid.isdecimal()), np.int64)


def _nullable(values: Ints, is_there: Bools) -> pa.Array:
    return nullable(np.ascontiguousarray(values), np.packbits(is_there, bitorder="little"))
