"""Write writebacks.parquet beside the per-IO table, window by window; no rows, no file."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vio.errors import OutputError
from vio.schema import MAJOR, MINOR, WRITEBACKS, arrow_schema

WRITEBACKS_FILE = "writebacks.parquet"


class WritebackFile:
    """Tables of schema.WRITEBACKS on their way to a file, which is put in its place when it is whole.

    Raises:
        OutputError: the file cannot be written; what was begun is removed.
    """

    def __init__(self, directory: Path, disk_names: Sequence[str]) -> None:
        """Write into a directory."""
        self.path = directory / WRITEBACKS_FILE
        self._part = directory / f".{WRITEBACKS_FILE}.part"
        self._disk_names = tuple(disk_names)
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        if not rows.num_rows:
            return
        try:
            if self._writer is None:
                note = {"schema": {"major": MAJOR, "minor": MINOR}, "disks": self._disk_names}
                schema = arrow_schema(WRITEBACKS).with_metadata({"vio": json.dumps(note)})
                self._writer = pq.ParquetWriter(self._part, schema)
            self._writer.write_table(rows)
        except (OSError, pa.ArrowException) as error:
            raise self._failed(error) from None

    def close(self) -> bool:
        """Put the file in its place; return whether there is one."""
        if self._writer is None:
            return False
        try:
            self._writer.close()
            self._part.replace(self.path)
        except (OSError, pa.ArrowException) as error:
            raise self._failed(error) from None
        return True

    def discard(self) -> None:
        """Remove what was written; the file that had the name before stays."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._part.unlink()

    def _failed(self, error: Exception) -> OutputError:
        self.discard()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return OutputError(f"the table of writebacks {self.path} cannot be written: {reason}")
