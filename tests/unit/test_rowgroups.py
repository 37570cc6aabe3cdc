"""Row groups: whole and in order, encoded beside the work, and what fails there is told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.reporter.rowgroups import RowGroups

SCHEMA = pa.schema([pa.field("number", pa.int64(), nullable=False)])


def _rows(first: int, count: int) -> pa.Table:
    return pa.table({"number": range(first, first + count)}, schema=SCHEMA)


def test_rows_come_in_order_in_groups_of_at_least_so_many(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    groups = RowGroups(pq.ParquetWriter(path, SCHEMA), most=100)
    for first in range(0, 250, 50):
        groups.write(_rows(first, 50))
    groups.close()
    footer = pq.read_metadata(path)
    assert [footer.row_group(number).num_rows for number in range(footer.num_row_groups)] == [100, 100, 50]
    assert pq.read_table(path)["number"].to_pylist() == list(range(250))


class _FullDisk:
    is_closed = False

    def write_table(self, rows: pa.Table) -> None:
        raise OSError(28, f"No space left on device for {rows.num_rows} rows")

    def close(self) -> None:
        self.is_closed = True


def test_a_group_that_cannot_be_written_is_told_by_the_next_or_at_the_end() -> None:
    writer = _FullDisk()
    groups = RowGroups(writer, most=10)
    groups.write(_rows(0, 10))
    with pytest.raises(OSError, match="No space left"):
        groups.write(_rows(10, 10))
    groups.write(_rows(20, 10))
    with pytest.raises(OSError, match="No space left"):
        groups.close()
    assert writer.is_closed
