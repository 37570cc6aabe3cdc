from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.reporter.sidefile import SideFile
from vio.schema import WRITEBACKS, arrow_schema

SCHEMA = arrow_schema(WRITEBACKS)
ROWS = pa.table({name: pa.array([1, 2], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)


def write(path: Path | None, *tables: pa.Table) -> tuple[Path | None, list[str]]:
    notes: list[str] = []
    with SideFile(path, SCHEMA, ("vda",), notes.append) as file:
        for table in tables:
            file.write(table)
    return file.made, notes


def write_half(path: Path) -> None:
    with SideFile(path, SCHEMA, (), print) as file:
        file.write(ROWS)
        raise KeyError


def test_rows_are_put_in_place_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert write(path, ROWS, ROWS) == (path, [])
    assert pq.read_table(path).num_rows == 4
    assert [file.name for file in tmp_path.iterdir()] == ["x.parquet"]


def test_no_rows_no_file_and_no_path_no_file(tmp_path: Path) -> None:
    assert write(tmp_path / "x.parquet", SCHEMA.empty_table()) == (None, [])
    assert write(None, ROWS) == (None, [])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    made, notes = write(tmp_path / "gone" / "x.parquet", ROWS, ROWS)
    assert made is None
    assert len(notes) == 1
    assert "not written" in notes[0]
    assert "No such file" in notes[0]


def test_a_report_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyError):
        write_half(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["x.parquet"]
