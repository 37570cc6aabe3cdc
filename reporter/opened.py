"""The opened layers of a report: their figures, and RECORDING/stages.parquet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from vio.layer import Stage
from vio.reporter.parts import PartsReader
from vio.reporter.partsum import PartSummary
from vio.reporter.recorded import Recorded
from vio.reporter.result import Report
from vio.schema import STAGES, arrow_schema

STAGES_FILE = "stages.parquet"
_SCHEMA = arrow_schema(STAGES)


class _WithParts(Protocol):
    parts: PartsReader | None
    stages: pa.Table | None


@dataclass(slots=True)
class OpenedLayers:
    """Takes the parts of each window from the stream; does nothing where they were not asked for."""

    stream: _WithParts | None
    result: Report
    path: Path | None
    writer: pq.ParquetWriter | None = None

    @classmethod
    def of(
        cls, stream: object, recorded: Recorded, result: Report, way: tuple[str, ...] = (), *, is_kept: bool
    ) -> "OpenedLayers":
        """Begin, if the stream reads parts."""
        parts = getattr(stream, "parts", None)
        if not isinstance(parts, PartsReader):
            return cls(None, result, None)
        result.parts = PartSummary.of(parts.parts, way)
        return cls(cast(_WithParts, stream), result, Path(recorded.path) / STAGES_FILE if is_kept else None)

    def add(self, chosen: pa.Table) -> None:
        """Count the parts of the chosen IOs of the window that the stream has given last; all parts are written."""
        if self.stream is None or self.stream.stages is None or self.result.parts is None:
            return
        if chosen.num_rows:
            self.result.parts.add(self.stream.stages, chosen)
        self._write(self.stream.stages)

    def close(self) -> None:
        """Put the table in its place."""
        if self.writer is None or self.path is None:
            return
        try:
            self.writer.close()
            self._draft.replace(self.path)
            self.result.stages_path = self.path
        except (OSError, pa.ArrowException) as error:
            self._fail(error)

    def _write(self, stages: pa.Table) -> None:
        if self.path is None:
            return
        try:
            if self.writer is None:
                schema = _SCHEMA.with_metadata({"vio": ",".join(Stage)})
                self.writer = pq.ParquetWriter(
                    self._draft, schema, compression="zstd", use_dictionary=["part", "stage"]
                )
            self.writer.write_table(stages)
        except (OSError, pa.ArrowException) as error:
            self._fail(error)

    @property
    def _draft(self) -> Path:
        path = self.path or Path(STAGES_FILE)
        return path.with_name(f".{path.name}.part")

    def _fail(self, error: Exception) -> None:
        self.result.notes.append(f"not written: {self.path}: {error}")
        self._draft.unlink(missing_ok=True)
        self.path = self.writer = None
