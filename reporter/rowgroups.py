"""Tables that come window by window, in few and large row groups of a Parquet file."""

import pyarrow as pa
import pyarrow.parquet as pq


class RowGroups:
    """Gathers rows until they are `most`: the fewer and larger the row groups, the less each value costs."""

    def __init__(self, writer: pq.ParquetWriter, most: int) -> None:
        self._writer = writer
        self._most = most
        self._waiting: list[pa.Table] = []
        self._rows = 0

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
        finally:
            self._writer.close()

    def _flush(self) -> None:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            self._writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
