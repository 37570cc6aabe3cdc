"""The matching primitives against the obvious loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vio.reporter.match import NONE, first_after, latest_before, pair, usual_gap

Story = list[tuple[bool, int]]
STORIES = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=60)


def split(story: Story) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    first = [(at, key) for at, (is_first, key) in enumerate(story) if is_first]
    second = [(at, key) for at, (is_first, key) in enumerate(story) if not is_first]
    columns = []
    for part in (first, second):
        columns.append(np.array([at for at, _ in part], dtype=np.int64))
        columns.append(np.array([key for _, key in part], dtype=np.uint64))
    return columns[0], columns[1], columns[2], columns[3]


@given(STORIES)
def test_pair_joins_each_begin_to_a_later_end_of_its_key_once(story: Story) -> None:
    begin, begin_key, end, end_key = split(story)
    pairs = pair(begin, begin_key, end, end_key)
    found = pairs.end >= 0
    assert (end[pairs.end[found]] > begin[found]).all()
    assert (end_key[pairs.end[found]] == begin_key[found]).all()
    assert np.unique(pairs.end[found]).size == found.sum()


@given(st.lists(st.integers(0, 3), max_size=30))
def test_pair_matches_all_when_begins_do_not_overlap(keys: list[int]) -> None:
    story = [(is_begin, key) for key in keys for is_begin in (True, False)]
    begin, begin_key, end, end_key = split(story)
    pairs = pair(begin, begin_key, end, end_key)
    assert pairs.end.tolist() == list(range(len(keys)))
    assert not pairs.is_ambiguous.any()


def test_pair_takes_overlapping_begins_of_one_key_first_in_first_out() -> None:
    begin, begin_key, end, end_key = split([(True, 7), (True, 7), (False, 7), (True, 7), (False, 7), (False, 7)])
    pairs = pair(begin, begin_key, end, end_key)
    assert pairs.end.tolist() == [0, 1, 2]
    assert not pairs.is_ambiguous.any()


def test_pair_says_that_a_begin_is_ambiguous_when_an_end_is_missing() -> None:
    begin, begin_key, end, end_key = split([(True, 7), (True, 7), (False, 7)])
    pairs = pair(begin, begin_key, end, end_key)
    assert sorted(pairs.end.tolist()) == [NONE, 0]
    assert pairs.is_ambiguous.all()


@given(STORIES)
def test_latest_before(story: Story) -> None:
    parent, parent_key, child, child_key = split(story)
    found = latest_before(child, child_key, parent, parent_key)
    for at, key, got in zip(child, child_key, found, strict=True):
        earlier = [n for n, (p, k) in enumerate(zip(parent, parent_key, strict=True)) if p < at and k == key]
        assert got == (earlier[-1] if earlier else NONE)


@given(STORIES)
def test_first_after(story: Story) -> None:
    later, later_key, child, child_key = split(story)
    found = first_after(child, child_key, later, later_key)
    for at, key, got in zip(child, child_key, found, strict=True):
        after = [n for n, (p, k) in enumerate(zip(later, later_key, strict=True)) if p > at and k == key]
        assert got == (after[0] if after else NONE)


def test_usual_gap_is_the_commonest_distance_to_the_next_lower_value() -> None:
    upper = np.array([1000, 2000, 3000], dtype=np.uint32)
    lower = np.array([900, 1900, 2955], dtype=np.uint32)
    assert usual_gap(upper, lower, 500) == 100
    assert usual_gap(upper, np.array([5000], dtype=np.uint32), 500) is None
