"""How much of the IOs' time went into images' own tables and into copies that fill new clusters."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from vio.reporter.histogram import Distribution


@dataclass(slots=True)
class OfWhichFigures:
    """Times of the IOs that have any, by what it was for; `metadata_reads` are all of them together."""

    metadata: Distribution = field(default_factory=Distribution)
    cow: Distribution = field(default_factory=Distribution)
    metadata_reads: int = 0

    def add(self, ios: pa.Table) -> None:
        """Count the IOs of one table of schema.IOS."""
        for name, part in (("metadata_ns", self.metadata), ("cow_ns", self.cow)):
            if ios[name].null_count < ios.num_rows:
                values_ns = ios[name].drop_null().to_numpy()
                part.add(values_ns[values_ns > 0])
        self.metadata_reads += pc.sum(ios["metadata_reads"]).as_py() or 0

    @property
    def rows(self) -> dict[str, Distribution]:
        """What there is any of, by its name."""
        named = {"tables of the image": self.metadata, "copies into new clusters": self.cow}
        return {name: part for name, part in named.items() if part.count}
