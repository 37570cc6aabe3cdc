"""Find the events in pages of the kernel's ring buffer, in all pages at once. Pure.

The format is that of `include/linux/ring_buffer.h`: a page begins with a time and the length of its data; an event with
27 bits of time since the one before and 5 bits of type, which for most events is their length in words.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

HEADER_BYTES = 16
LENGTH_MASK = (1 << 27) - 1
MISSED_EVENTS = 1 << 31
MISSED_STORED = 1 << 30
TIME_BITS = 27
TYPE_BITS = 5
LONG = 0
LONGEST_SHORT = 28
PADDING = 29
TIME_EXTEND = 30
TIME_STAMP = 31
# A time stamp has 59 bits; the others are the page's.
TIME_STAMP_MASK = (1 << 59) - 1
UNKNOWN = -1

_HEADER_WORDS = HEADER_BYTES // 4


@dataclass(frozen=True, slots=True)
class Missed:
    """Events were overwritten before the first one of a page; UNKNOWN if the page had no room to say how many."""

    page: int
    records: int


@dataclass(frozen=True, slots=True)
class Events:
    """Events in the order of the pages; `at` is where an event's data begin in `words`."""

    words: U32
    at: I64
    time_ns: I64
    missed: tuple[Missed, ...] = ()

    def __len__(self) -> int:
        return len(self.at)

    def pick(self, which: npt.NDArray[np.intp] | Mask) -> "Events":
        """Return some of the events."""
        return Events(self.words, self.at[which], self.time_ns[which], self.missed)

    def word(self, index: int) -> U32:
        """Return one word of all events; what lies behind a short event is not its own."""
        return self.words.take(self.at + index, mode="clip")


@dataclass(slots=True)
class _Walk:
    """Where the walk is: for each page that has more events its number, the next event, the end and the time."""

    words: U32
    page: npt.NDArray[np.intp]
    at: I64
    end: I64
    time_ns: I64

    def step(self) -> tuple[I64, I64]:
        """Go over one event of each page; return where its data are (0: it has none), and its time."""
        head = self.words[self.at]
        kind = head & np.uint32((1 << TYPE_BITS) - 1)
        size = kind.astype(np.int64) + 1
        start = self.at + 1
        self.time_ns = self.time_ns + (head >> np.uint32(TYPE_BITS))
        # unsigned, so that type 0 is a large number too
        odd = np.flatnonzero(kind - np.uint32(1) >= LONGEST_SHORT)
        if odd.size:
            self._step_odd(odd, kind, size, start, head)
        start = np.where(start < self.end, start, 0)
        self.at = self.at + size
        return start, self.time_ns

    def _step_odd(self, odd: npt.NDArray[np.intp], kind: U32, size: I64, start: I64, head: U32) -> None:
        following = self.words.take(self.at[odd] + 1, mode="clip").astype(np.int64)
        delta = (head[odd] >> np.uint32(TYPE_BITS)).astype(np.int64)
        type_ = kind[odd]
        is_long, is_padding = type_ == LONG, type_ == PADDING
        sized = 1 + (following + 3) // 4
        rest = self.end[odd] - self.at[odd]
        size[odd] = np.where(is_long, sized, np.where(is_padding, np.where(delta == 0, rest, sized), 2))
        start[odd] = np.where(is_long, self.at[odd] + 2, 0)
        before = self.time_ns[odd]
        longer = following << TIME_BITS
        stamp = longer | delta | ((before - delta) & ~TIME_STAMP_MASK)
        extended = np.where(type_ == TIME_EXTEND, before + longer, before)
        self.time_ns[odd] = np.where(type_ == TIME_STAMP, stamp, extended)

    def drop_finished(self) -> None:
        """Leave the pages out that have no more events."""
        going_on = self.at < self.end
        if not going_on.all():
            self.page, self.at = self.page[going_on], self.at[going_on]
            self.end, self.time_ns = self.end[going_on], self.time_ns[going_on]


def find_events(pages: U8) -> Events:
    """Find the events in pages: an array with one row for each page, as read from `trace_pipe_raw`."""
    count, page_bytes = pages.shape
    words = np.ascontiguousarray(pages).reshape(-1).view("<u4")
    heads = words.reshape(count, page_bytes // 4)[:, :_HEADER_WORDS].copy().view("<i8")
    first = np.arange(count, dtype=np.int64) * (page_bytes // 4) + _HEADER_WORDS
    length = np.minimum(heads[:, 1] & LENGTH_MASK, page_bytes - HEADER_BYTES)
    walk = _Walk(words, np.arange(count), first, first + length // 4, heads[:, 0])
    walk.drop_finished()
    steps = []
    while walk.page.size:
        steps.append((walk.page, *walk.step()))
        walk.drop_finished()
    return Events(words, *_in_order(steps, count), _missed(pages, heads[:, 1]))


def _in_order(steps: list[tuple[npt.NDArray[np.intp], I64, I64]], count: int) -> tuple[I64, I64]:
    at = np.zeros((count, len(steps)), np.int64)
    time_ns = np.empty((count, len(steps)), np.int64)
    for number, (page, start, time) in enumerate(steps):
        at[page, number] = start
        time_ns[page, number] = time
    is_event = at > 0
    return at[is_event], time_ns[is_event]


def _missed(pages: U8, commit: I64) -> tuple[Missed, ...]:
    found = []
    for page in np.flatnonzero(commit & MISSED_EVENTS).tolist():
        behind = HEADER_BYTES + int(commit[page] & LENGTH_MASK)
        is_stored = bool(commit[page] & MISSED_STORED) and behind + 8 <= pages.shape[1]
        stored = int.from_bytes(pages[page, behind : behind + 8].tobytes(), "little")
        found.append(Missed(page, stored if is_stored else UNKNOWN))
    return tuple(found)
