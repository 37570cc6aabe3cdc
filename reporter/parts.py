"""Inner parts of the layers, window by window: which IO each span of a part is of, and how much of its layer's time.

The join knows nothing of parts: this reads what it gives for each window. What belongs to an IO that has not ended is
kept for the window in which it ends.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vio.layer import Layer, Phase, Stage
from vio.manifest import DeviceInfo, PointInfo
from vio.reporter.containers import Containers, Name, host_containers, qemu_containers
from vio.reporter.drivers import DriverReader, has_drivers
from vio.reporter.events import Events
from vio.reporter.inner import MARK, InnerSpans, Part, inner_events, parts_of, spans_in
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Bools, Ints
from vio.reporter.partown import Intervals, divide
from vio.reporter.placing import KnownKeys, Places, is_of_qemu, place_in_qemu, place_on_host
from vio.reporter.steps import StepReader, StepRows, has_steps
from vio.schema import STAGES, arrow_schema, time_column

_SCHEMA = arrow_schema(STAGES)
_STAGE_NUMBER = {stage: number for number, stage in enumerate(Stage)}
_LOOP_STAGES = {Layer.FS: Stage.LOOP_FS, Layer.BLOCK: Stage.LOOP_BLOCK, Layer.DEVICE: Stage.LOOP_DEVICE}
_CARRY_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """A span of an IO that has not ended: the container that it lies in leads to the IO in a later window."""

    part: int
    begin_ns: int
    end_ns: int
    tid: int
    name: Name
    is_loop: bool


@dataclass(frozen=True, slots=True)
class _Owned:
    """Spans with the position of their IO in the window."""

    io: Ints
    stage: Ints
    part: Ints
    begin_ns: Ints
    end_ns: Ints
    tid: Ints


@dataclass(slots=True)
class PartsReader:
    """Reads the parts of a recording's windows in order; `orphans` counts spans of no IO, by part."""

    points: tuple[PointInfo, ...]
    devices: tuple[DeviceInfo, ...] = ()
    parts: tuple[Part, ...] = ()
    orphans: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    guesses: int = 0
    others: tuple[StepReader | DriverReader, ...] = field(default=(), init=False)
    _raw: Events = field(default_factory=Events.empty)
    _kept: list[_Kept] = field(default_factory=list)
    _known: KnownKeys = field(default_factory=KnownKeys)

    def __post_init__(self) -> None:
        """Find the parts; devices that hand their bios on have steps, and drivers may say more of requests."""
        self.parts = parts_of(self.points)
        self.others = (
            *([StepReader(self.devices)] if has_steps(self.devices) else []),
            *([DriverReader(self.devices)] if has_drivers(self.points) else []),
        )

    @property
    def is_empty(self) -> bool:
        """Tell whether the recording has no parts at all."""
        return not self.parts and not self.others

    def add(self, joined: Joined, ios: pa.Table, *, is_last: bool) -> pa.Table:
        """Return a table of schema.STAGES for the IOs that are done in this window; `ios` is their table."""
        if self.is_empty:
            return _SCHEMA.empty_table()
        events = joined.window.events
        mine = self._raw.joined(events.take(inner_events(events, self.parts)))
        spans, is_loose = spans_in(mine, self.parts)
        spans = self._hold_back(mine, spans, is_loose, is_last)
        owned = self._own(joined, spans, is_last)
        names = [part.name for part in self.parts]
        owned = _with_followers(joined, owned)
        for reader in self.others:
            owned = _with_rows(owned, reader.read(joined), names)
        return _table(joined, ios, owned, names)

    def take_orphans(self) -> Counter[str]:
        """Return the orphans since the last call."""
        found, self.orphans = self.orphans, Counter()
        if self.unmatched:
            found["ends of parts whose begin was not seen"] += self.unmatched
        if self.guesses:
            found["spans of parts that could be another IO's of the same io_submit"] += self.guesses
        self.unmatched = self.guesses = 0
        return found

    def _hold_back(self, mine: Events, spans: InnerSpans, is_loose: Bools, is_last: bool) -> InnerSpans:
        """Keep the events of threads that are within a part for the next window; return the spans that are settled."""
        self._raw = Events.empty()
        if not len(mine) or is_last:
            self.unmatched += int(is_loose.sum())
            return spans
        is_young = spans.begin_ns > int(mine.ts_ns[-1]) - _CARRY_NS
        open_spans = np.flatnonzero((spans.end_ns == NONE) & is_young)
        by_key = np.array([part.is_by_key for part in self.parts])[spans.part]
        since: dict[int, int] = {}
        for one in open_spans[~by_key[open_spans]].tolist():
            since.setdefault(int(spans.tid[one]), int(spans.begin_ns[one]))
        waits = _is_since(mine.tid.astype(np.int64), mine.ts_ns, since)
        held = _is_since(spans.tid, spans.begin_ns, since)
        held[open_spans] = True
        keyed = spans.begin_ns[open_spans[by_key[open_spans]]]
        self._raw = mine.take(waits | np.isin(mine.ts_ns, keyed))
        self.unmatched += int((is_loose & ~waits).sum())
        return _taken(spans, ~held)

    def _own(self, joined: Joined, spans: InnerSpans, is_last: bool) -> _Owned:
        found = [self._from_kept(joined, is_last)]
        is_qemu = is_of_qemu(self.parts)[spans.part]
        for which, is_host in ((~is_qemu, True), (is_qemu, False)):
            some = _taken(spans, which)
            if not len(some):
                continue
            if is_host:
                by_key = np.array([part.is_by_key for part in self.parts])[some.part]
                containers, places = place_on_host(joined, some, by_key, self._known)
            else:
                containers, places = place_in_qemu(joined, some)
            found.append(self._settle(joined, some, containers, places, is_last))
        return _Owned(*(np.concatenate([getattr(one, name) for one in found]) for name in _Owned.__slots__))

    def _settle(
        self, joined: Joined, spans: InnerSpans, containers: Containers, places: Places, is_last: bool
    ) -> _Owned:
        """Give the spans to their IOs, and keep those of IOs that are not done."""
        self.guesses += int(places.is_guess.sum())
        lost = np.bincount(spans.part[places.first < 0], minlength=len(self.parts))
        for number in np.flatnonzero(lost).tolist():
            self._lose(number, int(lost[number]))
        which, container = _spread(containers, places)
        io = containers.io[container]
        is_done = (np.append(joined.is_done, False)[io] | is_last) & (io >= 0)
        if is_last:
            for one in which[io < 0].tolist():
                self._lose(int(spans.part[one]))
            has_io = io >= 0
            which, container, io, is_done = which[has_io], container[has_io], io[has_io], is_done[has_io]
        for one, at in zip(which[~is_done].tolist(), container[~is_done].tolist(), strict=True):
            name, is_loop = containers.name(at), bool(containers.is_loop[at])
            part, begin, end = int(spans.part[one]), int(spans.begin_ns[one]), int(spans.end_ns[one])
            self._kept.append(_Kept(part, begin, end, int(spans.tid[one]), name, is_loop))
        which, container = which[is_done], container[is_done]
        of = spans.part[which]
        stage = self._stages(of, containers.is_loop[container])
        return _Owned(io[is_done], stage, of, spans.begin_ns[which], spans.end_ns[which], spans.tid[which])

    def _from_kept(self, joined: Joined, is_last: bool) -> _Owned:
        """Look for the IOs of the spans that were kept, now that their containers are in this window once more."""
        kept, self._kept = self._kept, []
        by_name: dict[Name, int] = {}
        if kept:
            for containers in (host_containers(joined), qemu_containers(joined, np.empty(0, np.int64))[0]):
                for number in range(containers.io.size):
                    by_name[containers.name(number)] = int(containers.io[number])
        rows: list[tuple[int, _Kept]] = []
        for one in kept:
            io = by_name.get(one.name)
            if io is not None and io >= 0 and (is_last or joined.is_done[io]):
                rows.append((io, one))
            elif io is not None and not is_last:
                self._kept.append(one)
            else:
                self._lose(one.part)
        part = np.array([one.part for _, one in rows], dtype=np.int64)
        columns = [
            np.array([getattr(one, name) for _, one in rows], np.int64) for name in ("begin_ns", "end_ns", "tid")
        ]
        is_loop = np.array([one.is_loop for _, one in rows], dtype=np.bool_)
        return _Owned(np.array([io for io, _ in rows], dtype=np.int64), self._stages(part, is_loop), part, *columns)

    def _lose(self, part: int, count: int = 1) -> None:
        self.orphans[f"spans of {self.parts[part].layer}'s {self.parts[part].name}"] += count

    def _stages(self, part: Ints, is_loop: Bools) -> Ints:
        plain = np.array([_STAGE_NUMBER[Stage(one.layer.value)] for one in self.parts], dtype=np.int64)
        loop = [_STAGE_NUMBER[_LOOP_STAGES.get(one.layer, Stage(one.layer.value))] for one in self.parts]
        return np.where(is_loop, np.array(loop, dtype=np.int64)[part], plain[part])


def _table(joined: Joined, ios: pa.Table, owned: _Owned, part_names: list[str]) -> pa.Table:
    done = np.flatnonzero(joined.is_done)
    number = np.full(joined.ios.begin.size, NONE)
    number[done] = ios["io"].to_numpy()
    order = np.lexsort((owned.begin_ns, owned.io))
    owned = _Owned(*(getattr(owned, name)[order] for name in _Owned.__slots__))
    own = own_times(joined, ios, done, owned)
    names = np.array(part_names, dtype=object)
    is_mark = owned.end_ns == MARK
    columns = {
        "io": number[owned.io],
        "stage": owned.stage,
        "part": names[owned.part],
        "begin_ns": owned.begin_ns,
        "end_ns": pa.array(owned.end_ns, mask=owned.end_ns < 0),
        "tid": owned.tid,
        "own_ns": pa.array(own, mask=is_mark),
    }
    arrays = [pa.array(columns[name]).cast(_SCHEMA.field(name).type) for name in _SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def own_times(joined: Joined, ios: pa.Table, done: Ints, owned: _Owned) -> Ints:
    """Return the own time of each span of a part; 0 where its layer has none (not reached, or its end not seen)."""
    own = np.zeros(owned.io.size, dtype=np.int64)
    ts, begin, end = joined.window.events.ts_ns, joined.ios.begin, joined.ios.end
    io_begin = ts[begin]
    life = np.where(end >= 0, ts[end] - io_begin, 0)
    mine = np.isin(joined.spans.owner, owned.io)
    owner, stage = joined.spans.owner[mine], joined.spans.stage[mine]
    start = np.clip(ts[joined.spans.begin[mine]] - io_begin[owner], 0, life[owner])
    last = joined.spans.end[mine]
    is_seen = last >= 0
    # a stage without an end has no time in the table either
    stop = np.clip(np.where(is_seen, ts[last] - io_begin[owner], start), start, life[owner])
    spans = Intervals(owner, start, stop)
    for number in np.unique(owned.stage).tolist():
        names = [time_column(tuple(Stage)[number], phase) for phase in Phase]
        has_time = np.zeros(begin.size, dtype=np.bool_)
        has_time[done] = sum(ios[name].fill_null(0).to_numpy() for name in names) > 0
        unseen = owner[(stage == number) & ~is_seen]
        has_time[unseen] = False
        which = np.flatnonzero((owned.stage == number) & has_time[owned.io] & (owned.end_ns != MARK))
        at = owned.io[which]
        begun = np.clip(owned.begin_ns[which] - io_begin[at], 0, life[at])
        ended = np.where(owned.end_ns[which] >= 0, owned.end_ns[which] - io_begin[at], begun)
        parts = Intervals(at, begun, np.clip(ended, begun, life[at]))
        own[which] = divide(parts, spans.take(stage >= number), spans.take(stage > number))
    return own


def _is_since(tid: Ints, ts_ns: Ints, since: dict[int, int]) -> Bools:
    is_it = np.zeros(tid.size, dtype=np.bool_)
    for thread, begin_ns in since.items():
        is_it |= (tid == thread) & (ts_ns >= begin_ns)
    return is_it


def _taken(spans: InnerSpans, which: Bools) -> InnerSpans:
    return InnerSpans(*(getattr(spans, name)[which] for name in InnerSpans.__slots__))


def _spread(containers: Containers, places: Places) -> tuple[Ints, Ints]:
    """Return spans (positions) with a container each: one that holds work of several IOs is there for each of them."""
    alone = np.flatnonzero((places.first >= 0) & (places.first == places.last))
    which, container = [alone], [places.first[alone]]
    for one in np.flatnonzero((places.first >= 0) & (places.first != places.last)).tolist():
        inside = np.arange(places.first[one], places.last[one] + 1)
        inside = inside[containers.io[inside] >= 0]
        _, first = np.unique(containers.io[inside], return_index=True)
        which.append(np.full(first.size, one))
        container.append(inside[first])
    return np.concatenate(which), np.concatenate(container)


def _with_followers(joined: Joined, owned: _Owned) -> _Owned:
    """Give the parts of an IO to those that QEMU merged into it, too."""
    head = joined.ios.head
    follower = np.flatnonzero(head != np.arange(head.size))
    if not follower.size or not owned.io.size:
        return owned
    order = np.argsort(owned.io, kind="stable")
    sorted_io = owned.io[order]
    first = np.searchsorted(sorted_io, head[follower], "left")
    count = np.searchsorted(sorted_io, head[follower], "right") - first
    which = np.concatenate([order[at : at + n] for at, n in zip(first.tolist(), count.tolist(), strict=True)])
    columns = [np.concatenate([getattr(owned, name), getattr(owned, name)[which]]) for name in _Owned.__slots__[1:]]
    return _Owned(np.concatenate([owned.io, np.repeat(follower, count)]), *columns)


def _with_rows(owned: _Owned, steps: StepRows, names: list[str]) -> _Owned:
    """Add rows that know their IOs; their names go to the end of `names`."""
    found = list(dict.fromkeys(steps.name))
    numbers = {name: len(names) + number for number, name in enumerate(found)}
    names += found
    part = np.array([numbers[name] for name in steps.name], dtype=np.int64)
    more = _Owned(steps.io, steps.stage, part, steps.begin_ns, steps.end_ns, steps.tid)
    return _Owned(*(np.concatenate([getattr(owned, name), getattr(more, name)]) for name in _Owned.__slots__))
