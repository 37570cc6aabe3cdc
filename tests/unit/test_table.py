import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.builders import an_io_table

from vio.errors import OutputError
from vio.reporter.table import TableFormat, TableWriter
from vio.schema import OPS

DISKS = ("vda", 'odd "name", \n')


def write(path: Path, form: TableFormat) -> list[dict[str, object]]:
    table = an_io_table(300, seed=1, disks=2, unended=3)
    with TableWriter(path, form, DISKS) as writer:
        writer.write(table.slice(0, 100))
        writer.write(table.slice(100, 0))
        writer.write(table.slice(100))
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def named(row: dict[str, object]) -> dict[str, object]:
    return row | {"op": OPS[int(str(row["op"]))].value, "disk": DISKS[int(str(row["disk"]))]}


def test_parquet_holds_the_rows_as_they_are(tmp_path: Path) -> None:
    rows = write(tmp_path / "ios.parquet", TableFormat.PARQUET)

    read = pq.read_table(tmp_path / "ios.parquet")
    assert read.to_pylist() == rows
    names = json.loads(read.schema.metadata[b"vio"])
    assert (names["disks"], names["ops"]) == (list(DISKS), [op.value for op in OPS])


def test_json_lines_have_names_and_nulls(tmp_path: Path) -> None:
    rows = write(tmp_path / "ios.json", TableFormat.JSON)

    lines = (tmp_path / "ios.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [named(row) for row in rows]


def test_csv_has_names(tmp_path: Path) -> None:
    rows = write(tmp_path / "ios.csv", TableFormat.CSV)

    with (tmp_path / "ios.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["io"] for row in read] == [str(row["io"]) for row in rows]
    assert [row["disk"] for row in read] == [named(row)["disk"] for row in rows]
    assert read[-1]["latency_ns"] == ""


def write_half(path: Path) -> None:
    with TableWriter(path, TableFormat.CSV, DISKS) as writer:
        writer.write(an_io_table(5))
        raise KeyError


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="no regular file"), TableWriter(pipe, TableFormat.CSV, DISKS):
        pass
    assert pipe.is_fifo()
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_a_table_that_failed_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "ios.csv"
    path.write_text("old", encoding="utf-8")

    with pytest.raises(KeyError):
        write_half(path)

    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["ios.csv"]


@pytest.mark.parametrize("form", TableFormat)
def test_no_such_place(tmp_path: Path, form: TableFormat) -> None:
    with pytest.raises(OutputError, match="cannot be written"), TableWriter(tmp_path / "no" / "x", form, DISKS):
        pass
