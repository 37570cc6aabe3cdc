"""`vio query` and `vio shell` on the command line."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab.demo import SAMPLE
from tests.commandline import Vio, vio

from vio.reporter.report import ReportOptions, report

__all__ = ["vio"]
QUERY = "select op, count(*) as ios, max(latency_ns) as longest from ios group by op order by op"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    copy = tmp_path_factory.mktemp("query") / "demo.vio"
    shutil.copytree(SAMPLE, copy)
    report(copy, ReportOptions())
    return str(copy)


def test_a_pipe_gets_plain_columns(vio: Vio, sample: str) -> None:
    code, out, err = vio("query", sample, QUERY)
    head, *rows = out.splitlines()
    assert (code, err, head.split()) == (0, "", ["op", "ios", "longest"])
    assert [row.split()[0] for row in rows] == ["discard", "flush", "read", "write", "write-zeroes"]
    assert len({len(row) for row in rows}) == 1
    assert "\x1b" not in out


def test_all_forms_say_the_same(vio: Vio, sample: str, tmp_path: Path) -> None:
    from_csv = list(csv.DictReader(io.StringIO(vio("query", "--csv", sample, QUERY)[1])))
    from_json = [json.loads(line) for line in vio("query", "--json", sample, QUERY)[1].splitlines()]
    file = tmp_path / "out.parquet"
    code, out, _ = vio("query", sample, f"{QUERY} -- with a comment", "--parquet", str(file))
    assert (code, out) == (0, f"{file}: 5 rows\n")
    assert pq.read_table(file).to_pylist() == from_json
    assert [{name: str(value) for name, value in row.items()} for row in from_json] == from_csv
    assert list(tmp_path.iterdir()) == [file]


def test_values_of_all_sorts(vio: Vio, sample: str) -> None:
    query = """select null as n, true as b, 0.00012345::double as small, 12345.678912::double as large,
      'nan'::double as nan, [1, 2] as list, {'a': 1.5} as struct, 2::decimal(9, 2) as decimal,
      date '2026-01-02' as day, 'é' as text"""
    row = json.loads(vio("query", sample, query, "--json")[1])
    assert row == {
        "n": None,
        "b": True,
        "small": 0.00012345,
        "large": 12345.678912,
        "nan": None,
        "list": [1, 2],
        "struct": {"a": 1.5},
        "decimal": 2.0,
        "day": "2026-01-02",
        "text": "é",
    }
    shown = vio("query", sample, query)[1].splitlines()[1].split()
    assert shown[:4] == ["true", "0.0001234", "12345.679", "nan"]


def test_control_characters_are_not_shown(vio: Vio, sample: str) -> None:
    for form in ((), ("--csv",), ("--json",)):
        assert "\x1b" not in vio("query", sample, "select chr(27) || '[31m' as red", *form)[1]


def test_no_rows_are_a_head(vio: Vio, sample: str) -> None:
    assert vio("query", sample, "select io, op from ios where false")[:2] == (0, "io  op\n")
    assert vio("query", sample, "select io, op from ios where false", "--csv")[:2] == (0, "io,op\n")
    assert vio("query", sample, "select io, op from ios where false", "--json")[:2] == (0, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("selec",), 'Parser Error: syntax error at or near "selec"'),
        (("select x from ios",), 'Binder Error: Referenced column "x" not found'),
        ((), "a query needs a recording and SQL"),
        (("select 1", "--csv", "--json"), "three forms of one result"),
        (("from stages",), "vio report --stages"),
    ],
)
def test_a_wrong_query_is_one_line_and_2(vio: Vio, sample: str, words: tuple[str, ...], says: str) -> None:
    code, out, err = vio("query", sample, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_a_query_is_read_from_the_input(vio: Vio, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 1 as one\n"))
    assert vio("query", sample, "-") == (0, "one\n  1\n", "")


def test_a_parquet_file_that_cannot_be_written(vio: Vio, sample: str, tmp_path: Path) -> None:
    code, _, err = vio("query", sample, "select 1", "--parquet", str(tmp_path / "none" / "x.parquet"))
    assert code == 6
    assert "cannot be written" in err


def test_the_shell_reads_a_pipe(vio: Vio, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ".views\n.mode json\nselect 1\n as a;\n.views links\n\n.help\n.mode nonsense\nselect 2 as b"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    code, out, err = vio("shell", sample)
    assert code == 0
    assert '{"a": 1}' in out
    assert '{"b": 2}' in out
    assert "joined_share" in out
    assert ".mode nonsense is not known" in err
    assert "vio>" not in out


def test_a_wrong_query_in_a_pipe_is_an_exit_code_at_the_end(
    vio: Vio, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("selec;\nselect 1 as a;\n.quit\nselect 2;"))
    code, out, err = vio("shell", sample)
    assert (code, out) == (2, "a\n1\n")
    assert err.startswith("vio: Parser Error")


def test_a_query_may_fail_at_any_row(vio: Vio, sample: str) -> None:
    code, _, err = vio(
        "query", sample, "select case when i = 90000 then error('late') else i end from range(100000) t(i)"
    )
    assert (code, err) == (2, "vio: Invalid Input Error: late\n")
