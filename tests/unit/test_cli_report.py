"""What `vio report` says of recordings that cannot be read, and what it makes of its options."""

import json
from pathlib import Path

import pytest
from tests.commandline import Vio, vio

from vio.errors import ExitCode, UsageError
from vio.layer import Op
from vio.quantity import NO_END_S
from vio.reporter import report
from vio.reporter.table import TableFormat
from vio.schema import MAJOR, MINOR

__all__ = ["vio"]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[report.ReportOptions]:
    options: list[report.ReportOptions] = []

    def note(path: Path, given: report.ReportOptions, _: object) -> None:
        options.append(given)
        raise UsageError(f"noted {path}")

    monkeypatch.setattr(report, "report", note)
    return options


@pytest.mark.parametrize("words", [[], ["--json"], ["--io", "1"]])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no recording"),
        ({}, "is not a recording: it has no manifest.json"),
        ({"manifest.json": "{"}, "is damaged"),
        ({"manifest.json": "{}"}, "is damaged: it names no schema version"),
        (
            {"manifest.json": json.dumps({"schema": {"major": MAJOR + 1, "minor": 7}})},
            f"is a recording of schema {MAJOR + 1}.7, this vio reads {MAJOR}.0 to {MAJOR}.{MINOR}: upgrade vio",
        ),
    ],
)
def test_recordings_that_cannot_be_read(
    vio: Vio, tmp_path: Path, words: list[str], content: dict[str, str] | None, said: str
) -> None:
    place = tmp_path / "x.vio"
    if content is not None:
        place.mkdir()
        for name, text in content.items():
            (place / name).write_text(text)
    code, out, err = vio("report", str(place), *words)
    assert (code, out) == (ExitCode.RECORDING, "")
    assert err.startswith("vio: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'RECORDING...'"),
        (["x", "--op", "sing"], "Invalid value for '--op'"),
        (["x", "--slowest", "-1"], "Invalid value for '--slowest'"),
        (["x", "--between", "3"], "'3' is no stretch of time"),
        (["x", "--between", "3:2"], "ends before it begins"),
        (["x", "--format", "xml"], "--format xml is not known: one of parquet, csv, json"),
        (["x", "--io", "1", "--json"], "--io draws a tree, which has no JSON"),
        (["x", "--foo"], "No such option: --foo"),
    ],
)
def test_wrong_words(vio: Vio, words: list[str], said: str) -> None:
    code, out, err = vio("report", *words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_was_typed_arrives(vio: Vio, seen: list[report.ReportOptions], tmp_path: Path) -> None:
    vio("report", "x")
    vio("report", "x", "--op", "read", "--op", "write-zeroes", "--disk", "a", "--disk", "b", "--between", "1s:2500ms")
    vio("report", "x", "--between", "10:", "--slowest", "3", "--plot", "p.png", "--format", "csv", "--output", "t.csv")
    plain, chosen, placed = seen
    assert plain == report.ReportOptions()
    assert chosen.choice.ops == (Op.READ, Op.WRITE_ZEROES)
    assert (chosen.choice.disks, chosen.choice.between_s) == (("a", "b"), (1.0, 2.5))
    assert placed.choice.between_s == (10.0, NO_END_S)
    assert (placed.slowest, placed.plot_path) == (3, Path("p.png"))
    assert (placed.table_format, placed.table_path) == (TableFormat.CSV, Path("t.csv"))
