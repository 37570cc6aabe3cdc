"""Numbers of records that are read in passes over a map that changes meanwhile: what is missing is a loss, not more."""

from dataclasses import astuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vio.recorder.numbering import NumberBook, Numbering
from vio.recorder.sequence import NO_TIME

STOP_NS = 10**12


def take(numbering: Numbering, *numbers: int) -> None:
    found = np.array(numbers, np.uint64)
    numbering.take(found, found * np.uint64(10))


def gaps(numbering: Numbering) -> list[tuple[int, ...]]:
    return [astuple(gap) for gap in numbering.gaps]


def test_records_that_come_in_order_leave_no_gap() -> None:
    numbering = Numbering()
    take(numbering, 1, 2, 3)
    take(numbering, 4)
    numbering.end(4, STOP_NS)
    assert (gaps(numbering), numbering.settled, numbering.newest_ns) == ([], 4, 40)


def test_what_one_pass_did_not_find_may_come_with_the_next() -> None:
    numbering = Numbering()
    take(numbering, 1, 2, 4, 6)
    assert numbering.is_waiting
    take(numbering, 3, 5, 7)
    numbering.end(7, STOP_NS)
    assert (gaps(numbering), numbering.is_waiting) == ([], False)


def test_what_two_passes_did_not_find_is_lost_between_its_neighbours() -> None:
    numbering = Numbering()
    take(numbering, 1, 2, 5)
    take(numbering, 6, 9)
    assert gaps(numbering) == [(3, 4, 20, 50)]
    take(numbering)
    assert gaps(numbering) == [(3, 4, 20, 50), (7, 8, 60, 90)]


def test_the_kernels_last_number_tells_what_is_missing_at_the_end() -> None:
    numbering = Numbering()
    take(numbering, 2, 3)
    numbering.end(5, STOP_NS)
    assert gaps(numbering) == [(1, 1, NO_TIME, 20), (4, 5, 30, STOP_NS)]


def test_a_key_of_which_a_pass_found_nothing_is_asked_too() -> None:
    book = NumberBook()
    for key, number in (([7, 7, 8], [1, 3, 1]), ([8], [2]), ([], [])):
        words = np.array([key, number, number], np.uint64)
        book.take_pass(1, words[0], words[1], words[2])
    assert gaps(book.get(1, 7)) == [(2, 2, 1, 3)]
    assert gaps(book.get(1, 8)) == []


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=60),
    st.integers(0, 5),
)
def test_gaps_are_exactly_what_was_never_stored(records: list[tuple[bool, bool, bool]], tail: int) -> None:
    """Each record may be lost, may be overlooked by the pass that is going on, and may be the last before the next."""
    numbering = Numbering()
    found: list[int] = []
    late: list[int] = []
    lost = set(range(len(records) + 1, len(records) + 1 + tail))
    for number, (is_lost, is_late, is_last) in enumerate(records, 1):
        if is_lost:
            lost.add(number)
        else:
            (late if is_late else found).append(number)
        if is_last:
            take(numbering, *sorted(found))
            found, late = late, []
    take(numbering, *sorted(found))
    take(numbering, *late)
    numbering.end(len(records) + tail, STOP_NS)
    missing = [number for gap in numbering.gaps for number in range(gap.first, gap.last + 1)]
    assert missing == sorted(lost)
    assert all(gap.from_ns < gap.to_ns for gap in numbering.gaps)
