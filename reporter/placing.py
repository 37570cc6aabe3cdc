"""Find what each inner span lies in: on its thread or coroutine in time, or by a key that another span has.

The strongest first: work or bios that it holds; the span around it; another span with its key; and, where io_submit
carries several requests, the work that comes next, which is a guess and counted.
"""

from dataclasses import dataclass, field

import numpy as np

from vio.layer import Layer
from vio.reporter.containers import Containers, Name, device_containers, host_containers, qemu_containers
from vio.reporter.inner import InnerSpans, Part
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Bools, Ints

_MOST_BACK = 4
_TIME_BITS = 44  # a window and what is carried into it are less than four hours


@dataclass(frozen=True, slots=True)
class Places:
    """Where each span lies: the first and last container that it holds or is in (`first` -1: nowhere)."""

    first: Ints
    last: Ints
    is_guess: Bools

    def take(self, which: Bools) -> "Places":
        """Return those of the chosen spans."""
        return Places(self.first[which], self.last[which], self.is_guess[which])


@dataclass(slots=True)
class KnownKeys:
    """Which container the spans with a key lay in last, from window to window."""

    names: dict[int, Name] = field(default_factory=dict)


def place_on_host(joined: Joined, spans: InnerSpans, is_by_key: Bools, known: KnownKeys) -> tuple[Containers, Places]:
    """Place spans of the host's layers; those that are `is_by_key` may end on another thread, and hold nothing."""
    containers = host_containers(joined)
    code = _Codes.of(containers.tid, spans.tid, int(spans.begin_ns.min(initial=0)))
    keys = code.key(containers.tid, containers.begin_ns)
    begin = code.key(spans.tid, spans.begin_ns)
    end = code.key(spans.tid, np.maximum(spans.end_ns, spans.begin_ns))
    targets = np.flatnonzero(containers.is_target & (containers.io >= 0))
    first = np.searchsorted(keys[targets], begin, side="left")
    last = np.searchsorted(keys[targets], end, side="right") - 1
    holds = (first <= last) & ~is_by_key
    held = _Held(
        np.where(holds, _taken(targets, first), NONE),
        np.where(holds, _taken(targets, last), NONE),
        *_around(joined, containers, code, keys, begin, spans),
    )
    return containers, _walk(containers, spans, is_by_key, held, known)


def place_in_device(joined: Joined, spans: InnerSpans) -> tuple[Containers, Places]:
    """Place spans of qemu-device: with the requests whose arrival or push they hold, else with the one at hand."""
    containers = device_containers(joined)
    code = _Codes.of(containers.tid, spans.tid, int(spans.begin_ns.min(initial=0)))
    keys, begin = code.key(containers.tid, containers.begin_ns), code.key(spans.tid, spans.begin_ns)
    first = np.searchsorted(keys, begin, side="left")
    last = np.searchsorted(keys, code.key(spans.tid, np.maximum(spans.end_ns, spans.begin_ns)), side="right") - 1
    running = _running(containers, keys, begin, spans.tid, spans.begin_ns)
    holds = first <= last
    is_guess = np.zeros(len(spans), dtype=np.bool_)
    return containers, Places(np.where(holds, first, running), np.where(holds, last, running), is_guess)


def place_in_qemu(joined: Joined, spans: InnerSpans) -> tuple[Containers, Places]:
    """Place spans of QEMU's layers: in the innermost call on their coroutine's stack that had not ended."""
    containers, stack = qemu_containers(joined, spans.aux)
    code = _Codes.of(containers.tid, stack, int(spans.begin_ns.min(initial=0)))
    keys, begin = code.key(containers.tid, containers.begin_ns), code.key(stack, spans.begin_ns)
    # which IO a call is of may be known only when it has ended
    found = _running(containers, keys, begin, stack, spans.begin_ns, needs_io=False)
    return containers, Places(found, found, np.zeros(len(spans), dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class _Codes:
    """Threads as small numbers, so that thread and time make one number to search by."""

    tids: Ints
    from_ns: int

    @classmethod
    def of(cls, one: Ints, other: Ints, from_ns: int) -> "_Codes":
        return cls(np.unique(np.concatenate([one, other])), from_ns - (1 << (_TIME_BITS - 1)))

    def key(self, tid: Ints, ts_ns: Ints) -> Ints:
        return (np.searchsorted(self.tids, tid) << _TIME_BITS) + np.maximum(ts_ns - self.from_ns, 0)


@dataclass(frozen=True, slots=True)
class _Held:
    """For each span: the first and last target that it holds, what runs around it, and whether that is a guess."""

    first: Ints
    last: Ints
    around: Ints
    is_guess: Bools


def _taken(values: Ints, at: Ints) -> Ints:
    return values[np.clip(at, 0, values.size - 1)] if values.size else np.full(at.size, NONE)


def _running(
    containers: Containers, keys: Ints, begin: Ints, tid: Ints, begin_ns: Ints, *, needs_io: bool = True
) -> Ints:
    """Return the latest container on the thread that had begun and not ended, of the last few."""
    found = np.full(begin.size, NONE)
    latest = np.searchsorted(keys, begin, side="right") - 1
    for back in range(_MOST_BACK):
        at = latest - back
        safe = np.maximum(at, 0)
        if not keys.size:
            break
        is_it = (found < 0) & (at >= 0) & (containers.tid[safe] == tid) & (containers.until_ns[safe] >= begin_ns)
        is_it &= (containers.io[safe] >= 0) | (not needs_io)
        found[is_it] = at[is_it]
    return found


def _around(
    joined: Joined, containers: Containers, code: _Codes, keys: Ints, begin: Ints, spans: InnerSpans
) -> tuple[Ints, Bools]:
    """Return what runs on the thread when each span begins; within an io_submit the work that begins next there."""
    ev = joined.window.events
    found = _running(containers, keys, begin, spans.tid, spans.begin_ns)
    is_guess = np.zeros(begin.size, dtype=np.bool_)
    enter, leave = joined.window.at("io_submit"), joined.window.at("io_submit_end")
    if not enter.size:
        return found, is_guess
    order = np.argsort(code.key(_known(code, ev.tid[enter].astype(np.int64)), ev.ts_ns[enter]))
    entered = code.key(_known(code, ev.tid[enter].astype(np.int64)), ev.ts_ns[enter])[order]
    left = np.sort(code.key(_known(code, ev.tid[leave].astype(np.int64)), ev.ts_ns[leave]))
    after_enter, after_leave = np.searchsorted(entered, begin, "right"), np.searchsorted(left, begin, "right")
    last_enter = entered[np.maximum(after_enter - 1, 0)]
    last_leave = left[np.maximum(after_leave - 1, 0)] if left.size else np.zeros_like(last_enter)
    is_inside = (after_enter > 0) & ((after_leave == 0) | (last_leave < last_enter))
    is_inside &= (last_enter >> _TIME_BITS) == (begin >> _TIME_BITS)
    until = _taken(left, after_leave)
    works = np.flatnonzero(containers.is_target & (containers.io >= 0))
    following, before = np.searchsorted(keys[works], begin, "left"), np.searchsorted(keys[works], begin, "left") - 1
    has_next = is_inside & (following < works.size) & (_taken(keys[works], following) <= until)
    has_before = is_inside & (before >= 0) & (_taken(keys[works], before) >= last_enter)
    is_guess = has_next & has_before
    found = np.where(has_next, _taken(works, following), found)
    return np.where(has_before & ~has_next, _taken(works, before), found), is_guess


def _known(code: _Codes, tid: Ints) -> Ints:
    """Threads without a container or span are none that anything is asked of."""
    place = np.minimum(np.searchsorted(code.tids, tid), code.tids.size - 1)
    return np.where(code.tids[place] == tid, tid, code.tids[0] if code.tids.size else 0)


def _walk(containers: Containers, spans: InnerSpans, is_by_key: Bools, held: _Held, known: KnownKeys) -> Places:
    """Take the spans in order of begin: what is around one is settled before it."""
    first, last, guess = held.first.tolist(), held.last.tolist(), [False] * len(spans)
    around, is_guess = held.around.tolist(), held.is_guess.tolist()
    end_here = np.where(is_by_key, NONE, spans.end_ns)
    begin, end, tid, key = (one.tolist() for one in (spans.begin_ns, end_here, spans.tid, spans.key))
    io = containers.io.tolist()
    open_on: dict[int, list[int]] = {}
    by_name = {containers.name(number): number for number in range(len(io))} if known.names else {}
    by_key = {one: by_name[name] for one, name in known.names.items() if name in by_name}
    for one in range(len(begin)):
        stack = open_on.setdefault(tid[one], [])
        while stack and end[stack[-1]] < begin[one]:
            stack.pop()
        if first[one] < 0:
            outer = stack[-1] if stack else NONE
            if outer >= 0 and first[outer] >= 0 and io[first[outer]] == io[last[outer]]:
                first[one], guess[one] = first[outer], guess[outer]
            elif key[one] in by_key:
                first[one] = by_key[key[one]]
            else:
                first[one], guess[one] = around[one], is_guess[one]
            last[one] = first[one]
        if first[one] >= 0 and key[one]:
            by_key[key[one]] = first[one]
        if end[one] > begin[one]:
            stack.append(one)
    known.names = {one: containers.name(number) for one, number in by_key.items()}
    return Places(np.array(first, np.int64), np.array(last, np.int64), np.array(guess, np.bool_))


def is_of(parts: tuple[Part, ...], *layers: Layer) -> Bools:
    """Tell which parts are of these layers."""
    return np.array([part.layer in layers for part in parts], dtype=np.bool_)
