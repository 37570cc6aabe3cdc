"""Spans of several parts in one list, and what is handed on to others."""

import numpy as np

from vio.reporter.compiled import hand_on, total_of
from vio.reporter.paths import Part, Spans


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def rows(spans: Spans) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in (spans.owner, spans.stage, spans.begin, spans.end)), strict=True))


def test_spans_without_an_owner_or_a_begin_are_left_out() -> None:
    parts = [
        Part(1, ints(0, -1, 1), ints(3, 4, -1), ints(5, 6, 7)),
        Part(2, ints(1, 0), ints(8, 9), ints(-1, 9), ints(4, -1)),
    ]
    assert rows(Spans.of(parts)) == [(0, 1, 3, 5), (4, 2, 9, 9)]


def test_what_one_has_others_are_given_too() -> None:
    parts = [Part(0, ints(0, 1, 2), ints(1, 2, 3), ints(9, 9, 9)), Part(1, ints(0), ints(4), ints(5))]
    spans = Spans.of(parts, 1, ints(0, 0, 1), ints(1, 2, 0))
    assert rows(spans) == [(0, 0, 1, 9), (1, 0, 2, 9), (2, 0, 3, 9), (0, 1, 4, 5), (1, 1, 4, 5), (2, 1, 4, 5)]


def test_a_part_is_given_to_many_or_none() -> None:
    part = Part(3, ints(7, -1, 8, 7), ints(1, 2, 3, 4), ints(5, 6, 7, 8))
    given = part.given_to(ints(7, -1, 9, 7), ints(0, 1, 2, 3))
    assert given.owner.tolist() == [0, 0, 3, 3]
    assert given.begin.tolist() == [1, 4, 1, 4]


def test_a_part_is_lifted_through_devices_upon_each_other() -> None:
    lifted = Part(3, ints(0), ints(1), ints(2)).lifted(ints(0, 1), ints(1, 2))
    assert lifted.owner.tolist() == [0, 1, 2]
    assert lifted.end.tolist() == [2, 2, 2]


def test_no_owner_has_nothing() -> None:
    which, owner = hand_on(ints(-1, 0), ints(-1, 1), ints(0, 0))
    assert not which.size
    assert not owner.size
    assert total_of(ints(-1, 1, 1, 5), ints(1, 2, 3, 4), 2).tolist() == [0, 5]
