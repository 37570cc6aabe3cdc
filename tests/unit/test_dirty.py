"""Dirty ranges against a model that keeps each byte by itself."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.reporter.dirty import DROP, WRITE, WRITEBACK, DirtyRanges, Outcome, Steps

Row = tuple[int, int, int, int]  # kind, start, length, who
Bytes = dict[tuple[int, int], int]

rows_of_steps = st.lists(
    st.tuples(st.sampled_from([WRITE, WRITE, WRITEBACK, DROP]), st.integers(0, 40), st.integers(1, 24), st.just(0)),
    max_size=40,
).map(lambda rows: [(kind, start, length, number) for number, (kind, start, length, _) in enumerate(rows)])


def steps_of(rows: list[Row]) -> Steps:
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    kind, start, length, who = table.T
    return Steps(kind, start, start + length, who, who * 1000)


@dataclass
class ByByte:
    """The model: who wrote each dirty byte last."""

    writer: dict[int, int] = field(default_factory=dict)
    shared: set[tuple[int, int, int]] = field(default_factory=set)
    unwritten: dict[int, int] = field(default_factory=dict)
    overwritten: dict[int, int] = field(default_factory=dict)
    dropped: dict[int, int] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        kind, start, length, who = row
        for byte in range(start, start + length):
            writer = self.writer.pop(byte, None)
            if kind == WRITEBACK and writer is None:
                self.unwritten[who] = self.unwritten.get(who, 0) + 1
            elif kind == WRITEBACK and writer is not None:
                self.shared.add((who, writer, byte))
            elif writer is not None:
                lost = self.overwritten if kind == WRITE else self.dropped
                lost[writer] = lost.get(writer, 0) + 1
            if kind == WRITE:
                self.writer[byte] = who


def shared_bytes(outcome: Outcome) -> set[tuple[int, int, int]]:
    one = outcome.shared
    assert (one.ended_ns == one.io * 1000).all()
    pieces = zip(one.bio.tolist(), one.io.tolist(), one.start.tolist(), one.end.tolist(), strict=True)
    listed = [(bio, io, byte) for bio, io, start, end in pieces for byte in range(start, end)]
    assert len(listed) == len(set(listed))
    return set(listed)


def total(pair: tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for who, size in zip(pair[0].tolist(), pair[1].tolist(), strict=True):
        sums[who] = sums.get(who, 0) + size
    return sums


@pytest.mark.parametrize("pieces", [1 << 22, 20, 1])
@given(rows=rows_of_steps, cuts=st.lists(st.integers(0, 40), max_size=3))
def test_it_is_what_a_model_by_byte_says(rows: list[Row], cuts: list[int], pieces: int) -> None:
    model, dirty = ByByte(), DirtyRanges(pieces=pieces)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    found: list[Outcome] = []
    for first, last in pairwise(edges):
        found.append(dirty.apply(steps_of(rows[first:last])))
    for row in rows:
        model.take(row)

    assert set().union(*(shared_bytes(one) for one in found)) == model.shared
    for name in ("unwritten", "overwritten", "dropped"):
        sums: dict[int, int] = {}
        for one in found:
            for who, size in total(getattr(one, name)).items():
                sums[who] = sums.get(who, 0) + size
        assert sums == getattr(model, name), name
    left = dirty.ranges
    assert (left.start[1:] >= left.end[:-1]).all()
    ranges = zip(left.start.tolist(), left.end.tolist(), left.who.tolist(), strict=True)
    assert {byte: who for start, end, who in ranges for byte in range(start, end)} == model.writer


def test_of_one_bio_and_one_io_there_is_one_range() -> None:
    dirty = DirtyRanges()
    outcome = dirty.apply(steps_of([(WRITE, 0, 4, 1), (WRITE, 8, 4, 2), (WRITE, 4, 4, 1), (WRITEBACK, 0, 16, 9)]))

    assert outcome.shared.io.tolist() == [1, 2]
    assert outcome.shared.start.tolist() == [0, 8]
    assert outcome.shared.end.tolist() == [8, 12]
    assert total(outcome.unwritten) == {9: 4}
    assert len(dirty.ranges) == 0


def test_ranges_get_the_number_of_an_io_that_has_ended() -> None:
    dirty = DirtyRanges()
    dirty.apply(Steps.of(WRITE, np.array([0, 8]), np.array([4, 12]), np.array([-3, -2])))
    dirty.rename(np.array([-3]), np.array([70]), np.array([555]))

    assert dirty.ranges.who.tolist() == [70, -2]
    assert dirty.ranges.ended_ns.tolist() == [555, 0]


def test_of_too_many_ranges_the_oldest_are_forgotten_and_counted() -> None:
    dirty = DirtyRanges(most=10)
    start = np.arange(11) * 8
    dirty.apply(Steps.of(WRITE, start, start + 4, np.arange(11), np.arange(11)[::-1].copy()))

    assert dirty.ranges.who.tolist() == [0, 1, 2, 3, 4]
    assert dirty.forgotten_bytes == 6 * 4
