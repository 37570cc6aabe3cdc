"""Write the per-IO table: one row for each IO, as Parquet, CSV or JSON lines, window by window.

It is written beside its place and put there when it is whole, so that a table is never half a table.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from vio import __version__
from vio.draft import draft_of
from vio.errors import OutputError
from vio.layer import Stage
from vio.reporter.rowgroups import RowGroups
from vio.schema import IOS, MAJOR, MINOR, OPS, arrow_schema

_SCHEMA = arrow_schema(IOS)
# What repeats is worth a dictionary. All other numbers are written as differences, in as few bits as those take:
# neighbouring stamps and addresses differ by little, and how long things took is a small number. Of the latter, plain
# ones with lz4 took 1.5 times as long and were 1.6 times as large; zstd took as long as the whole join.
_REPEATING = ["op", "disk", "tid", "device", "lack", "reached", "children", "bytes", "metadata_reads"]
_ENCODING = {
    one.name: "DELTA_BINARY_PACKED"
    for one in _SCHEMA
    if one.name not in _REPEATING and not pa.types.is_boolean(one.type)
}
_GROUP_ROWS = 1 << 17  # of a table of 2^15 rows each value costs a sixth more to write
# What a reader looks rows up by is worth statistics.
_ASKED_FOR = ["io", "begin_ns", "latency_ns"]


class TableFormat(StrEnum):
    """The formats of the per-IO table; `json` is one object a line."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"


class _Sink(Protocol):
    def write(self, ios: pa.Table) -> None: ...

    def close(self) -> None: ...


class _Nothing:
    def write(self, ios: pa.Table) -> None:
        raise AssertionError("a table is written inside its `with`")

    def close(self) -> None:
        pass


class TableWriter:
    """Writes tables of schema.IOS to a file; a context manager, which drops the file when left by an error.

    `recording` is the fingerprint of the recording of which the table has every IO, empty for one of chosen IOs.

    Raises:
        OutputError: the file cannot be written; what was begun is removed.
    """

    def __init__(self, path: Path, form: TableFormat, disk_names: Sequence[str], recording: str = "") -> None:
        self.path = path
        self._recording = recording
        self._part: Path | None = None
        self._form = form
        self._disk_names = tuple(disk_names)
        self._sink: _Sink = _Nothing()

    def __enter__(self) -> Self:
        self._part = draft_of(self.path)
        try:
            self._sink = _SINKS[self._form](self._part, self._disk_names, self._recording)
        except (OSError, pa.ArrowException) as error:
            raise self._failed(error) from None
        return self

    def write(self, ios: pa.Table) -> None:
        """Append rows."""
        try:
            self._sink.write(ios)
        except (OSError, pa.ArrowException) as error:
            raise self._failed(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self._sink.close()
            draft_of(self.path).replace(self.path)
        except (OSError, pa.ArrowException) as failure:
            self.discard()
            raise self._failed(failure) from None

    def discard(self) -> None:
        """Remove what was written; the file that had the name before stays."""
        with suppress(OSError, pa.ArrowException):
            self._sink.close()
        if self._part is not None:
            with suppress(OSError):
                self._part.unlink()

    def _failed(self, error: Exception) -> OutputError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return OutputError(f"the per-IO table {self.path} cannot be written: {reason}", "name another place for it")


class _Parquet:
    def __init__(self, path: Path, disk_names: tuple[str, ...], recording: str) -> None:
        names = {"schema": {"major": MAJOR, "minor": MINOR}, "ops": list(OPS), "stages": list(Stage)}
        note = {**names, "disks": disk_names, "made_by": __version__, "recording": recording}
        schema = _SCHEMA.with_metadata({"vio": json.dumps(note)})
        writer = pq.ParquetWriter(
            path,
            schema,
            compression="none",
            use_dictionary=_REPEATING,
            column_encoding=_ENCODING,
            write_statistics=_ASKED_FOR,
            write_batch_size=_GROUP_ROWS,
        )
        self._groups = RowGroups(writer, _GROUP_ROWS)

    def write(self, ios: pa.Table) -> None:
        self._groups.write(ios.select(_SCHEMA.names))

    def close(self) -> None:
        self._groups.close()


class _Csv:
    def __init__(self, path: Path, disk_names: tuple[str, ...], recording: str) -> None:
        self._disk_names = disk_names
        schema = with_names(_SCHEMA.empty_table(), disk_names).schema
        self._writer = pyarrow.csv.CSVWriter(path, schema)

    def write(self, ios: pa.Table) -> None:
        self._writer.write(with_names(ios, self._disk_names))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    def __init__(self, path: Path, disk_names: tuple[str, ...], recording: str) -> None:
        self._disk_names = disk_names
        self._file = path.open("w", encoding="utf-8")

    def write(self, ios: pa.Table) -> None:
        for batch in with_names(ios, self._disk_names, quote=json.dumps).to_batches(max_chunksize=1 << 14):
            if batch.num_rows:
                lines = pc.binary_join_element_wise(*_members(batch), ",")
                self._file.write("{" + "}\n{".join(lines.to_pylist()) + "}\n")

    def close(self) -> None:
        self._file.close()


_SINKS: dict[TableFormat, type[_Parquet] | type[_Csv] | type[_JsonLines]] = {
    TableFormat.PARQUET: _Parquet,
    TableFormat.CSV: _Csv,
    TableFormat.JSON: _JsonLines,
}


def has_every_io(path: Path, recording: str) -> bool:
    """Say whether a Parquet table was written by this vio, and of every IO of the recording with this fingerprint."""
    try:
        note = json.loads((pq.read_schema(path).metadata or {}).get(b"vio", b"{}"))
    except (OSError, ValueError, pa.ArrowException):
        return False
    return isinstance(note, dict) and (note.get("made_by"), note.get("recording")) == (__version__, recording)


def _members(batch: pa.RecordBatch) -> list[pa.Array]:
    """Write each column as JSON members: the name, and the value or null."""
    return [
        pc.binary_join_element_wise(f'"{name}":', pc.fill_null(pc.cast(column, pa.string()), "null"), "")
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]


def with_names(ios: pa.Table, disk_names: Sequence[str], quote: Callable[[str], str] = str) -> pa.Table:
    """Return the table with the names of operations and disks in the place of their numbers."""
    disks = pa.array([quote(name) for name in (*disk_names, "unknown")], pa.string())
    known = pc.and_(pc.greater_equal(ios["disk"], 0), pc.less(ios["disk"], len(disk_names)))
    places = pc.if_else(known, pc.cast(ios["disk"], pa.int64()), len(disk_names))
    ops = pa.array([quote(op.value) for op in OPS], pa.string())
    for name, names, numbers in (("disk", disks, places), ("op", ops, ios["op"])):
        ios = ios.set_column(ios.column_names.index(name), name, pc.take(names, numbers))
    return ios
