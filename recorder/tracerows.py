"""Events of the trace buffer -> rows, the same as bpftrace's records give. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.recorder.rows import Rows, no_rows
from vio.recorder.tracefields import Kind, Source, TraceRule
from vio.recorder.tracepages import I64, U32, Events
from vio.recorder.wire import U64

_LOW_32 = np.uint64(0xFFFFFFFF)
_LOW_16 = np.uint64(0xFFFF)
_32 = np.uint64(32)
_OPERATIONS = np.zeros(256, np.uint64)
for _letter, _number in {"R": 1, "W": 2, "F": 3, "D": 4}.items():
    _OPERATIONS[ord(_letter)] = _number
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}

Indices = npt.NDArray[np.intp]


@dataclass(slots=True)
class RowMaker:
    """Make rows by the rules of the events, which go by the events' ids.

    `marks` are those of TraceRule by their set's name, and since when they are there.
    """

    rules: Mapping[int, TraceRule]
    marks: dict[str, dict[int, int]] = field(default_factory=dict)

    def note(self, events: Events) -> None:
        """Take the marks from events that have some."""
        ids = event_ids(events)
        for number, rule in self.rules.items():
            if rule.notes and rule.mark:
                self._note(events.pick(ids == number), rule.notes, rule.mark)

    def rows(self, events: Events) -> Rows:
        """Make a row of each event that has a rule and passes its test, in the order of the events."""
        rows = no_rows(len(events))
        is_row = np.zeros(len(events), np.bool_)
        ids = event_ids(events)
        for number, rule in self.rules.items():
            which = self._tested(events, np.flatnonzero(ids == number), rule)
            if which.size:
                _fill(rows, which, events.pick(which), rule)
                is_row[which] = True
        rows.time_ns[:] = events.time_ns
        rows.owner[:] = 0
        return rows if is_row.all() else rows.pick(is_row)

    def _note(self, events: Events, name: str, mark: Source) -> None:
        known = self.marks.setdefault(name, {})
        order = np.argsort(events.time_ns, kind="stable")
        found, first = np.unique(read_source(events, mark)[order], return_index=True)
        for value, time_ns in zip(found.tolist(), events.time_ns[order][first].tolist(), strict=True):
            known.setdefault(value, time_ns)

    def _tested(self, events: Events, which: Indices, rule: TraceRule) -> Indices:
        if not rule.tests or not rule.mark:
            return which
        tested = events.pick(which)
        values = read_source(tested, rule.mark)
        passes = np.zeros(len(which), np.bool_)
        # an address may have been another's before
        for value, since_ns in self.marks.get(rule.tests, {}).items():
            passes |= (values == value) & (tested.time_ns >= since_ns)
        return which[passes]


def event_ids(events: Events) -> U32:
    """Return the number of each event's kind (`common_type`)."""
    return events.word(0) & np.uint32(0xFFFF)


def thread_ids(events: Events) -> U32:
    """Return the thread that was running at each event (`common_pid`)."""
    return events.word(1)


def read_source(events: Events, source: Source) -> U64:
    """Read one value of each event, sign-extended to 64 bits as a cast in C does."""
    if source.kind is Kind.CONSTANT:
        return np.full(len(events), source.value, np.uint64)
    value = _read(events, source)
    if source.kind is Kind.OPERATION:
        return _OPERATIONS[value.astype(np.intp)]
    if source.is_signed:
        value = _extended(value, source.size)
    if source.kind is Kind.IS_NEGATIVE:
        return (value.view(np.int64) < 0).astype(np.uint64)
    return value


def _read(events: Events, source: Source) -> U64:
    index, first = divmod(source.offset, 4)
    value = events.word(index).astype(np.uint64)
    if source.size == 8:
        value |= events.word(index + 1).astype(np.uint64) << _32
    elif source.size < 4:
        value = (value >> np.uint64(8 * first)) & np.uint64((1 << 8 * source.size) - 1)
    return value


def _extended(value: U64, size: int) -> U64:
    signed: I64 = value.astype(_SIGNED[size]).astype(np.int64)
    return signed.view(np.uint64)


def _fill(rows: Rows, which: Indices, events: Events, rule: TraceRule) -> None:
    header = thread_ids(events).astype(np.uint64) << _32
    header |= np.uint64(rule.number)
    if not _is_zero(rule.flags):
        header |= (read_source(events, rule.flags) & _LOW_16) << np.uint64(8)
    extent = read_source(events, rule.space) << _32
    if not _is_zero(rule.bytes):
        extent |= read_source(events, rule.bytes) & _LOW_32
    rows.header[which] = header
    rows.extent[which] = extent
    rows.offset[which] = 0 if _is_zero(rule.offset) else read_source(events, rule.offset)
    rows.key[which] = 0 if _is_zero(rule.key) else read_source(events, rule.key)


def _is_zero(source: Source) -> bool:
    return source.kind is Kind.CONSTANT and source.value == 0
