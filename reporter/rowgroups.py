"""Tables that come window by window, in few and large row groups of a Parquet file."""

from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq


class RowGroups:
    """Gathers rows until they are `most`: the fewer and larger the row groups, the less each value costs.

    A row group is encoded in a thread of its own, while the next one's rows are made; what goes wrong with it is raised
    by a later `write`, or by `close`.
    """

    def __init__(self, writer: pq.ParquetWriter, most: int) -> None:
        self._writer = writer
        self._most = most
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._thread = ThreadPoolExecutor(1, "rowgroups")
        self._written: Future[None] | None = None

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        self._waiting.append(rows)
        self._rows += rows.num_rows
        if self._rows >= self._most:
            self._flush()

    def close(self) -> None:
        """Write what is left, and end the file in any case."""
        try:
            self._flush()
            self._settle()
        finally:
            self._thread.shutdown()
            self._writer.close()

    def _flush(self) -> None:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            self._settle()
            rows = pa.concat_tables(waiting).unify_dictionaries()
            self._written = self._thread.submit(self._writer.write_table, rows)

    def _settle(self) -> None:
        """Wait for the row group that is being written: one at a time, so that memory stays what it is."""
        written, self._written = self._written, None
        if written:
            written.result()
