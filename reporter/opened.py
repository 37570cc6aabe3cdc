"""The opened layers of a report: their figures, and RECORDING/stages.parquet."""

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from vio.reporter.parts import PartsReader
from vio.reporter.partsum import PartSummary
from vio.reporter.sidefile import SideFile

STAGES_FILE = "stages.parquet"


class WithParts(Protocol):
    """A stream that may read parts: `stages` are those of the table that it has given last."""

    parts: PartsReader | None
    stages: pa.Table | None


@dataclass(slots=True)
class OpenedLayers:
    """Takes the parts of each window from the stream; `summary` is None where they were not asked for."""

    stream: WithParts
    summary: PartSummary | None

    @classmethod
    def of(cls, stream: WithParts, way: tuple[str, ...] = ()) -> "OpenedLayers":
        """Begin, if the stream reads parts."""
        return cls(stream, PartSummary.of(stream.parts.parts, way) if stream.parts else None)

    def add(self, chosen: pa.Table, file: SideFile) -> None:
        """Count the parts of the chosen IOs of the window that the stream has given last; all parts are written."""
        if self.summary is None or self.stream.stages is None:
            return
        if chosen.num_rows:
            self.summary.add(self.stream.stages, chosen)
        file.write(self.stream.stages)
