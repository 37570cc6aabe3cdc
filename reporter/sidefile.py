"""Tables beside a recording's ios.parquet, written window by window and put in their place when they are whole.

They are extras: one that cannot be written becomes a note, and the report goes on.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from vio.layer import Stage
from vio.reporter.rowgroups import RowGroups
from vio.schema import MAJOR, MINOR

_GROUP_ROWS = 1 << 15  # windows have few rows, and a row group of few costs as much as one of many


class SideFile:
    """A table on its way to a file; a context manager, which drops the file when left by an error.

    Without a path nothing is written, and without rows there is no file. `made` is where it is, once it is whole.
    """

    def __init__(
        self, path: Path | None, schema: pa.Schema, disk_names: Sequence[str], note: Callable[[str], None]
    ) -> None:
        """Write to a path, if there is one; `note` takes what went wrong."""
        self.made: Path | None = None
        self._path = path
        self._disk_names = tuple(disk_names)
        self._schema = schema
        self._note = note
        self._groups: RowGroups | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        if self._path is None or not rows.num_rows:
            return
        try:
            if self._groups is None:
                self._groups = self._begun(self._part(self._path))
            self._groups.write(rows)
        except (OSError, pa.ArrowException) as error:
            self._failed(self._path, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None or self._groups is None:
            return
        if kind is not None:
            self._discard(self._path)
            return
        try:
            self._groups.close()
            self._part(self._path).replace(self._path)
            self.made = self._path
        except (OSError, pa.ArrowException) as failure:
            self._failed(self._path, failure)

    def _begun(self, part: Path) -> RowGroups:
        names = {"schema": {"major": MAJOR, "minor": MINOR}, "disks": self._disk_names, "stages": list(Stage)}
        schema = self._schema.with_metadata({"vio": json.dumps(names)})
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        return RowGroups(pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=texts), _GROUP_ROWS)

    def _failed(self, path: Path, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._note(f"not written: {path}: {reason}")
        self._discard(path)
        self._path = None

    def _discard(self, path: Path) -> None:
        """Remove what was written; the file that had the name before stays."""
        if self._groups is not None:
            with suppress(OSError, pa.ArrowException):
                self._groups.close()
        with suppress(OSError):
            self._part(path).unlink()

    @staticmethod
    def _part(path: Path) -> Path:
        return path.with_name(f".{path.name}.part")
