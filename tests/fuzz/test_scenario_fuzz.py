"""Scenarios and witnesses with anything in them: read, or refused with one line; never another exception."""

import contextlib
import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from vio.bencher.scenario import Scenario, read_scenario
from vio.bencher.witness import parse_witness
from vio.errors import VioError
from vio.tomldata import from_tables

EXAMPLES = [path.read_text() for path in sorted((Path(__file__).parents[2] / "examples").glob("*/*.toml"))]
KEYS = st.sampled_from(
    ["load", "a", "b", "image", "bench", "values", "compare", "command", "name", "size", "repeats", "witness", "x"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("{image}")
TABLES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))
FIO_KEYS = st.sampled_from(["jobs", "error", "read", "write", "total_ios", "iops", "clat_ns", "mean", "percentile"])
FIO = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIO_KEYS, inner, max_size=6))


@given(TABLES)
def test_any_tables(data: object) -> None:
    with contextlib.suppress(VioError):
        assert isinstance(from_tables(Scenario, data, "x"), Scenario)


@settings(max_examples=300)
@given(st.sampled_from(EXAMPLES), st.data())
def test_an_example_with_a_piece_replaced(tmp_path_factory: object, text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    put = data.draw(st.sampled_from(["", '"', "[", "]", "{", "}", "=", "\n", "-1", "nan", "1e999", "{x}", "\x00", "é"]))
    place = Path(tmp_path_factory.mktemp("fuzz") / "scenario.toml")  # type: ignore[attr-defined]
    place.write_text(text[:begin] + put + text[begin + length :], encoding="utf-8")
    with contextlib.suppress(VioError):
        read_scenario(place)


@given(FIO)
def test_any_figures_of_fio(data: object) -> None:
    whole = {"fio version": "3", "jobs": data, **(data if isinstance(data, dict) else {})}
    with contextlib.suppress(VioError):
        for told in parse_witness(json.dumps(whole), "x"):
            assert told.count > 0


@given(st.text())
def test_any_text_of_a_load(text: str) -> None:
    with contextlib.suppress(VioError):
        parse_witness("Sending " + text, "x")
