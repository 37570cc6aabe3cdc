"""The compiled loops against the obvious ones, and what they do with input that cannot be."""

import errno
import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core import caching

from vio.reporter.account import account
from vio.reporter.columns import column_at
from vio.reporter.compiled import before_compiling, compiled
from vio.reporter.match import NONE, codes_of, pair, stable_order
from vio.reporter.nest import assume_ends, enclose
from vio.reporter.paths import Spans

STORIES = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60)


def pairs_of_one_key(story: list[bool]) -> list[tuple[int, bool]]:
    """Give each begin (True) of a story its end, and whether it is ambiguous: docs/joining.md, by the letter."""
    result = [(at + 1 if story[at + 1 : at + 2] == [False] else NONE, False) for at in range(len(story))]
    if any(one and other for one, other in itertools.pairwise(story)):
        stretch: list[int] = []
        for at in range(len(story)):
            stretch.append(at)
            begins = [one for one in stretch if story[one]]
            is_balanced = 2 * len(begins) == len(stretch) and story[stretch[0]]
            if is_balanced:
                ends = [one for one in stretch if not story[one]]
                for begin, end in zip(begins, ends, strict=True):
                    result[begin] = (end, False)
            elif at == len(story) - 1 or 2 * len(begins) == len(stretch):
                for begin in begins:
                    result[begin] = (result[begin][0], True)
            if 2 * len(begins) == len(stretch):
                stretch = []
    return [result[at] for at, is_begin in enumerate(story) if is_begin]


@given(STORIES)
def test_pair_is_first_in_first_out_over_balanced_stretches(story: list[tuple[bool, int]]) -> None:
    by_key: defaultdict[int, list[int]] = defaultdict(list)
    for at, (_, key) in enumerate(story):
        by_key[key].append(at)
    expected = {}
    for places in by_key.values():
        begins = [at for at in places if story[at][0]]
        for at, (last, is_ambiguous) in zip(begins, pairs_of_one_key([story[p][0] for p in places]), strict=True):
            expected[at] = (places[last] if last >= 0 else NONE, is_ambiguous)
    begin = np.array([at for at, (is_begin, _) in enumerate(story) if is_begin], dtype=np.int64)
    end = np.array([at for at, (is_begin, _) in enumerate(story) if not is_begin], dtype=np.int64)
    keys = np.array([key for _, key in story], dtype=np.uint64)
    found = pair(begin, keys[begin], end, keys[end])
    if end.size:
        got = {
            int(at): (int(end[one]) if one >= 0 else NONE, bool(doubt))
            for at, one, doubt in zip(begin, found.end, found.is_ambiguous, strict=True)
        }
        assert got == expected


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=200))
def test_equal_keys_have_equal_numbers(keys: list[int]) -> None:
    order: dict[int, int] = {}
    expected = [order.setdefault(key, len(order)) for key in keys]
    assert codes_of(np.array(keys, dtype=np.uint64)).tolist() == expected


def test_many_keys_are_numbered_too() -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, 50_000).astype(np.uint64)
    both = np.concatenate([np.zeros(60_000, dtype=np.uint64), keys, keys[::-1]])
    codes = codes_of(both)
    assert codes[60_000:110_000].tolist() == codes[110_000:][::-1].tolist()
    assert np.unique(codes).size == np.unique(both).size == codes.max() + 1


@given(st.lists(st.integers(0, 20), max_size=60))
def test_stable_order(codes: list[int]) -> None:
    array = np.array(codes, dtype=np.int64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()


def test_what_cannot_be_is_refused() -> None:
    one = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="negative"):
        stable_order(one - 1)
    with pytest.raises(ValueError, match="needs a key"):
        pair(one, np.empty(0, dtype=np.uint64), one, one.astype(np.uint64))
    for spans in (Spans(one + 1, one, one, one), Spans(one, one + 99, one, one), Spans(one - 1, one, one, one)):
        with pytest.raises(IndexError):
            account(np.arange(2), one, one + 1, spans)


def test_a_place_outside_is_null() -> None:
    assert column_at(np.array([5, 6]), np.array([1, -1, 2, 0]), np.arange(4)).to_pylist() == [6, None, None, 5]


def test_calls_are_nested_by_depth_on_their_stack() -> None:
    call, end = np.array([0, 1, 4, 6]), np.array([5, 3, -1, -1])
    pointer, node = np.array([90, 80, 70, 95], dtype=np.uint32), np.arange(4, dtype=np.uint32)
    stack = np.zeros(4, dtype=np.int64)
    ends = assume_ends(call, end, stack, pointer, node, 1, 9)
    assert ends.tolist() == [5, 3, 6, 9]
    submit = np.array([2, 7])
    assert enclose(call, ends, submit, np.zeros(6, dtype=np.int64), 1, 9).tolist() == [-1, 0, 0, -1, 1, 3]


def test_loops_are_compiled_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    @compiled
    def twice(value: int) -> int:
        return 2 * value

    assert twice(4) == 8


@pytest.mark.parametrize(
    ("step", "error"),
    [("save", OSError(errno.ENOSPC, "no space left on device")), ("load", EOFError("ran out of input"))],
)
def test_a_cache_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch, step: str, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(caching.IndexDataCacheFile, step, fail)

    @compiled
    def thrice(value: int) -> int:
        return 3 * value

    assert thrice(4) == 12


def test_compiling_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    told: list[str] = []
    before_compiling(lambda: told.append("compiling"))

    @compiled
    def less_one(value: float) -> float:
        return value - 1

    assert told == []
    assert less_one(4) == 3
    assert less_one(4.0) == 3
    assert told == ["compiling"]
