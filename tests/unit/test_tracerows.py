"""Values of events, and the rows they make."""

import struct

import numpy as np
import pytest

from vio.recorder.tracefields import Kind, Source, TraceRule
from vio.recorder.tracepages import Events
from vio.recorder.tracerows import RowMaker, read_source

NOTHING = Source(Kind.CONSTANT)
M1 = 2**64 - 1


def events_of(*payloads: bytes) -> Events:
    size = max(map(len, payloads))
    words = np.frombuffer(b"".join(payload.ljust(size, b"\0") for payload in payloads), "<u4")
    at = np.arange(len(payloads), dtype=np.int64) * (size // 4)
    return Events(words, at, at + 1000)


def rule(number: int, **given: object) -> TraceRule:
    values = {"filter": "", "is_of_threads": False, "mark": None, "notes": "", "tests": "", **given}
    columns = {name: values.pop(name, NOTHING) for name in ("flags", "space", "bytes", "offset", "key")}
    return TraceRule(number, "s", "e", **columns, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "value", "is_signed", "read"),
    [
        ("<Q", M1, False, M1),
        ("<q", -2, True, M1 - 1),
        ("<I", 2**32 - 1, False, 2**32 - 1),
        ("<i", -5, True, M1 - 4),
        ("<i", 5, True, 5),
        ("<h", -1, True, M1),
        ("<H", 2**16 - 1, False, 2**16 - 1),
        ("<b", -128, True, M1 - 127),
        ("<B", 200, False, 200),
    ],
)
def test_values_are_extended_to_64_bits(form: str, value: int, is_signed: bool, read: int) -> None:
    size = struct.calcsize(form)
    events = events_of(b"\xff" * 8 + struct.pack(form, value).ljust(8, b"\xee"))
    assert read_source(events, Source(Kind.FIELD, 8, size, is_signed)).tolist() == [read]


def test_a_field_inside_a_word() -> None:
    events = events_of(bytes(range(16)))
    assert read_source(events, Source(Kind.FIELD, 6, 1)).tolist() == [6]
    assert read_source(events, Source(Kind.FIELD, 10, 2)).tolist() == [0x0B0A]


def test_operations_and_errors() -> None:
    letters = events_of(*(b"\0\0" + letter + b"S" for letter in (b"R", b"W", b"F", b"D", b"N")))
    assert read_source(letters, Source(Kind.OPERATION, 2, 1)).tolist() == [1, 2, 3, 4, 0]
    errors = events_of(struct.pack("<i", -5), struct.pack("<i", 0), struct.pack("<i", 7))
    assert read_source(errors, Source(Kind.IS_NEGATIVE, 0, 4, True)).tolist() == [1, 0, 0]


def test_rows_have_the_words_of_bpftraces_records() -> None:
    whole = rule(
        9,
        flags=Source(Kind.CONSTANT, value=0x12345),
        space=Source(Kind.FIELD, 8, 4),
        bytes=Source(Kind.FIELD, 16, 8, True),
        offset=Source(Kind.FIELD, 16, 8, True),
        key=Source(Kind.FIELD, 24, 8),
    )
    made = RowMaker({7: whole}).rows(
        events_of(struct.pack("<HHiIIqQ", 7, 0xFFFF, 4321, 77, 0, -22, 99), struct.pack("<HHi", 8, 0, 1))
    )
    assert made.time_ns.tolist() == [1000]
    assert made.header.tolist() == [4321 << 32 | 0x2345 << 8 | 9]
    assert made.extent.tolist() == [77 << 32 | (2**32 - 22)]
    assert made.offset.tolist() == [2**64 - 22]
    assert made.key.tolist() == [99]
    assert made.owner.tolist() == [0]


def test_marks_are_remembered() -> None:
    mark = Source(Kind.FIELD, 8, 8)
    maker = RowMaker({1: rule(1, notes="ring", mark=mark), 2: rule(2, tests="ring", mark=mark)})
    ended = events_of(*(struct.pack("<HHiQ", 2, 0, 5, ring) for ring in (10, 11, 10)))
    assert len(maker.rows(ended)) == 0
    before = events_of(struct.pack("<HHiQ", 1, 0, 5, 10))
    maker.note(Events(before.words, before.at, before.time_ns + 1))
    # the first, at 1000, was of another that had the address before
    assert maker.rows(ended).time_ns.tolist() == [1008]
