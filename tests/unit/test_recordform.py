"""Where a record's words stand in a map's entries is read off the entry that BEGIN stores, or not at all."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vio.recorder.bpfmap import U64
from vio.recorder.generate import marking
from vio.recorder.recordform import KEY_WORDS, STREAMS, WORDS, Layout, find_mark, marks

KEY, VALUE = marks("u")[:KEY_WORDS], marks("u")[KEY_WORDS:]


def entries(*rows: tuple[int, ...]) -> U64:
    return np.array(rows, np.uint64)


def test_the_form_that_bpftrace_has_had_so_far() -> None:
    keys, values = entries((7, 1), KEY, (7, 2)), entries((10, 1, 2, 3, 4), VALUE, (20, 1, 2, 3, 4))
    assert find_mark(keys, values, "u") == (1, Layout((0, 1), (0, 1, 2, 3, 4)))


@given(st.permutations(range(KEY_WORDS + 1)), st.permutations(range(WORDS + 2)), st.integers(0, 2**62))
def test_any_order_with_padding_of_any_content(key: list[int], value: list[int], padding: int) -> None:
    keys, values = entries((padding,) * 3), entries((padding,) * 7)
    keys[0, key[:KEY_WORDS]], values[0, value[:WORDS]] = KEY, VALUE
    assert find_mark(keys, values, "u") == (0, Layout(tuple(key[:KEY_WORDS]), tuple(value[:WORDS])))


def test_a_word_that_is_missing_cut_or_there_twice_makes_the_form_unknown() -> None:
    for wrong in ((*VALUE[:4], 0), (*VALUE[:4], VALUE[4] & 0xFFFFFFFF), (*VALUE, VALUE[0])):
        assert find_mark(entries(KEY), entries(wrong), "u") is None
    assert find_mark(entries((*KEY, KEY[1])), entries(VALUE), "u") is None


def test_each_stream_has_its_own_mark() -> None:
    assert find_mark(entries(KEY), entries(VALUE), "t") is None
    assert len({mark for stream in STREAMS for mark in marks(stream)}) == len(STREAMS) * (KEY_WORDS + WORDS)


def test_a_map_without_entries_or_mark_is_none_of_ours() -> None:
    assert find_mark(entries(KEY)[:0], entries(VALUE)[:0], "u") is None
    assert find_mark(entries((7, 1)), entries((10, 1, 2, 3, 4)), "u") is None


def test_the_program_stores_the_marks_in_their_order() -> None:
    found = re.findall(r"\(uint64\)(0x[0-9a-f]+)", marking("u"))
    assert tuple(int(number, 16) for number in found) == (*KEY, *VALUE)
    assert max(KEY + VALUE) < 2**63
