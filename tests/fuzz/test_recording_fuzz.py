"""Recordings come from elsewhere: whatever is in one, there is a report or one error, never a traceback or a hang."""

import contextlib
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.errors import VioError
from vio.reporter.machine import render_json
from vio.reporter.report import ReportOptions, report, timeline
from vio.reporter.table import TableFormat
from vio.reporter.text import render_text

DATA = Path(__file__).parents[1] / "data"
SEEDS = range(12)
CASES = 12
LIMIT_S = 20
ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    -(2**63),
    2**70,
    1e308,
    float("nan"),
    "",
    "\x1b[2J",
    "x" * 5000,
    [],
    {},
    [[]],
)


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Have the reporter's loops compiled before anything is timed."""
    report(DATA / "bench.vio", ReportOptions(is_table_written=False))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def swap(rng: random.Random, data: bytes) -> bytes:
    """Put a piece of the file at another place, as a file system in trouble does."""
    length = rng.randrange(1, min(512, len(data)))
    source, target = rng.randrange(len(data) - length + 1), rng.randrange(len(data) - length + 1)
    return data[:target] + data[source : source + length] + data[target + length :]


def odd_value(rng: random.Random, data: bytes) -> bytes:
    """Replace some values of a JSON file by others, of the right type or not."""
    root = json.loads(data)
    for _ in range(rng.choice((1, 2, 5))):
        place: object = root
        for _ in range(rng.randrange(1, 6)):
            keys = (
                list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
            )
            if not keys:
                break
            holder, key = place, rng.choice(keys)
            place = holder[key]  # type: ignore[index]
        if rng.random() < 0.2 and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = rng.choice(ODD)  # type: ignore[index]
    return json.dumps(root).encode()


def odd_table(rng: random.Random, data: bytes) -> bytes:
    """Change a table's values, order, columns or types; the file itself stays in order."""
    table = pq.read_table(pa.BufferReader(data))
    at = rng.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at)
    way = rng.choice(("values", "values", "values", "order", "drop", "type", "nulls", "empty"))
    if way == "values" and pa.types.is_integer(column.type) and table.num_rows:
        values = column.to_pylist()
        bits = column.type.bit_width
        signed = pa.types.is_signed_integer(column.type)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        for row in rng.sample(range(len(values)), min(len(values), rng.choice((1, 10, 2000)))):
            values[row] = rng.choice((low, high, 0, rng.randint(low, high), values[rng.randrange(len(values))]))
        table = table.set_column(at, name, pa.array(values, column.type))
    elif way == "order":
        rows = list(range(table.num_rows))
        rng.shuffle(rows)
        table = table.take(pa.array(rows, pa.int64()))
    elif way == "drop":
        table = table.drop_columns([name])
    elif way == "type":
        table = table.set_column(at, name, column.cast(pa.string()))
    elif way == "nulls":
        nothing = [value if rng.random() < 0.9 else None for value in column.to_pylist()]
        table = table.set_column(at, name, pa.array(nothing, column.type))
    elif way == "empty":
        table = table.slice(0, 0)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def change(rng: random.Random, recording: Path) -> str:
    """Damage one file; return what was done."""
    path = rng.choice(sorted(file for file in recording.rglob("*") if file.suffix in {".json", ".parquet"}))
    ways: list[Callable[[random.Random, bytes], bytes]] = [flip, flip, cut, swap]
    own = odd_value if path.suffix == ".json" else odd_table
    way = rng.choice([*ways, own, own, own])
    path.write_bytes(way(rng, path.read_bytes()))
    return f"{way.__name__} of {path.name}"


def try_all(path: Path) -> None:
    looks: list[Callable[[], str]] = [
        lambda: render_text(report(path, ReportOptions(is_table_written=False)), is_terminal=False),
        lambda: render_json(report(path, ReportOptions(table_path=path / "t.csv", table_format=TableFormat.CSV))),
        lambda: str(report(path, ReportOptions(html_path=path / "t.html", is_table_written=False)).html_path),
        lambda: timeline(path, 8),
    ]
    for look in looks:
        with contextlib.suppress(VioError):
            look()


@pytest.mark.parametrize("name", ["bench.vio", "writeback.vio"])
@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_recordings_are_reported_on_or_refused(seed: int, name: str, tmp_path: Path) -> None:
    rng = random.Random(seed)
    for case in range(CASES):
        copy = tmp_path / str(case)
        shutil.copytree(DATA / name, copy)
        done = change(rng, copy)
        try:
            with limited(LIMIT_S):
                try_all(copy)
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {case} ({done}): {type(error).__name__}: {error}") from error
        shutil.rmtree(copy)
