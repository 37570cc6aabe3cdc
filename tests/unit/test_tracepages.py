"""Pages of the ring buffer, built by hand after include/linux/ring_buffer.h."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vio.recorder.tracepages import UNKNOWN, Events, Missed, find_events

PAGE = 4096
ROOM = PAGE - 16
MAX_DELTA = 1 << 27


def head(kind: int, delta: int) -> bytes:
    return struct.pack("<I", kind | delta << 5)


def short(delta: int, payload: bytes) -> bytes:
    assert len(payload) % 4 == 0
    assert 4 <= len(payload) <= 112
    return head(len(payload) // 4, delta) + payload


def long(delta: int, payload: bytes) -> bytes:
    return head(0, delta) + struct.pack("<I", len(payload) + 4) + payload


def extend(delta: int) -> bytes:
    return head(30, delta % MAX_DELTA) + struct.pack("<I", delta // MAX_DELTA)


def stamp(time_ns: int) -> bytes:
    return head(31, time_ns % MAX_DELTA) + struct.pack("<I", time_ns // MAX_DELTA % (1 << 32))


def discarded(delta: int, payload: bytes) -> bytes:
    return head(29, delta) + struct.pack("<I", len(payload) + 4) + payload


def page(time_ns: int, *events: bytes, flags: int = 0, behind: bytes = b"", size: int = PAGE) -> bytes:
    data = b"".join(events)
    assert len(data) + len(behind) <= size - 16
    return (struct.pack("<QQ", time_ns, len(data) | flags) + data + behind).ljust(size, b"\0")


def found(*pages: bytes) -> Events:
    return find_events(np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), -1))


def payloads(events: Events, length: int) -> list[bytes]:
    return [events.words[at : at + length // 4].tobytes() for at in events.at.tolist()]


def test_short_events() -> None:
    events = found(page(1000, short(0, b"aaaa"), short(5, b"bbbbcccc"), short(7, b"d" * 112), short(1, b"eeee")))
    assert events.time_ns.tolist() == [1000, 1005, 1012, 1013]
    assert payloads(events, 4) == [b"aaaa", b"bbbb", b"dddd", b"eeee"]


def test_no_pages_and_empty_pages() -> None:
    assert len(find_events(np.empty((0, PAGE), np.uint8))) == 0
    events = found(page(1), page(2, short(3, b"abcd")), page(4))
    assert events.time_ns.tolist() == [5]


def test_a_long_event_has_its_length_in_a_word() -> None:
    events = found(page(10, long(1, b"x" * 200), short(2, b"yyyy")))
    assert events.time_ns.tolist() == [11, 13]
    assert payloads(events, 4) == [b"xxxx", b"yyyy"]


def test_time_extends() -> None:
    far = 5 * MAX_DELTA + 3
    events = found(page(10, extend(far), short(0, b"aaaa"), short(4, b"bbbb")))
    assert events.time_ns.tolist() == [10 + far, 14 + far]


def test_absolute_times() -> None:
    now = 7 << 40 | 12345
    events = found(page(10, short(1, b"aaaa"), stamp(now), short(0, b"bbbb"), short(2, b"cccc")))
    assert events.time_ns.tolist() == [11, now, now + 2]


def test_an_absolute_time_lacks_the_high_bits() -> None:
    base = 1 << 60
    events = found(page(base + 5, stamp(base + 100), short(0, b"bbbb")))
    assert events.time_ns.tolist() == [base + 100]


def test_padding_ends_a_page_and_a_discarded_event_does_not() -> None:
    rest = head(29, 0) + b"\xff" * 40
    events = found(page(10, short(1, b"aaaa"), discarded(3, b"gone" * 5), short(4, b"bbbb"), rest))
    assert events.time_ns.tolist() == [11, 18]
    assert payloads(events, 4) == [b"aaaa", b"bbbb"]


@pytest.mark.parametrize(
    ("flags", "behind", "records"),
    [
        (1 << 31 | 1 << 30, struct.pack("<Q", 1234567), 1234567),
        (1 << 31, b"", UNKNOWN),
    ],
)
def test_missed_events(flags: int, behind: bytes, records: int) -> None:
    events = found(page(1, short(0, b"aaaa")), page(10, short(1, b"bbbb"), flags=flags, behind=behind))
    assert events.missed == (Missed(1, records),)
    assert events.time_ns.tolist() == [1, 11]


def test_missed_events_of_a_page_without_room_to_say() -> None:
    events = [short(1, b"z" * 112)] * (ROOM // 116)
    filled = page(1, *events, short(1, b"y" * (ROOM - 116 * len(events) - 4)), flags=1 << 31 | 1 << 30)
    assert found(filled).missed == (Missed(0, UNKNOWN),)


def test_the_order_is_that_of_the_pages() -> None:
    events = found(
        page(100, short(1, b"a--1"), short(1, b"a--2"), short(1, b"a--3")),
        page(0, short(9, b"b--1")),
        page(50, extend(MAX_DELTA), short(0, b"c--1"), short(1, b"c--2")),
    )
    assert payloads(events, 4) == [b"a--1", b"a--2", b"a--3", b"b--1", b"c--1", b"c--2"]
    assert events.time_ns.tolist() == [101, 102, 103, 9, 50 + MAX_DELTA, 51 + MAX_DELTA]


def test_larger_pages() -> None:
    many = [short(1, struct.pack("<I", n)) for n in range(1500)]
    events = found(page(0, *many, size=16384))
    assert events.word(0).tolist() == list(range(1500))


@given(st.binary(max_size=256))
@settings(max_examples=200, deadline=None)
def test_garbage_does_no_harm(garbage: bytes) -> None:
    filled = garbage.ljust(256, b"\0")
    events = found(filled[:128], filled[128:])
    assert len(events.word(100)) == len(events)


event = st.tuples(
    st.one_of(st.integers(0, MAX_DELTA - 1), st.integers(0, 1 << 45)),
    st.one_of(st.integers(1, 28), st.integers(29, 80)),
    st.booleans(),
)


def encode(now: int, delta: int, payload: bytes, is_absolute: bool) -> bytes:
    form = short if len(payload) <= 112 else long
    if is_absolute:
        return stamp(now) + form(0, payload)
    return form(delta, payload) if delta < MAX_DELTA else extend(delta) + form(0, payload)


@given(st.integers(0, 1 << 50), st.lists(event, max_size=120))
@settings(max_examples=100, deadline=None)
def test_round_trip(start_ns: int, wanted: list[tuple[int, int, bool]]) -> None:
    pages: list[bytes] = []
    held: list[bytes] = []
    now = page_ns = start_ns
    times = []
    for number, (delta, words, is_absolute) in enumerate(wanted):
        now += delta
        times.append(now)
        one = encode(now, delta, struct.pack("<I", number) + b"#" * (4 * words - 4), is_absolute)
        if sum(map(len, held)) + len(one) > ROOM:
            pages.append(page(page_ns, *held))
            held, page_ns = [], now
            one = encode(now, 0, struct.pack("<I", number) + b"#" * (4 * words - 4), False)
        held.append(one)
    events = found(*pages, page(page_ns, *held))
    assert events.time_ns.tolist() == times
    assert events.word(0).tolist() == list(range(len(wanted)))
