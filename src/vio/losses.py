"""What a recording knows that it has lost: how much, where, and in which stretch of time."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum

import pyarrow as pa

from vio.errors import RecordingError
from vio.schema import LOSSES, arrow_schema

SCHEMA = arrow_schema(LOSSES)


class LossKind(StrEnum):
    """Why records are not there."""

    BUFFER = "buffer"
    MISSED = "missed"
    OVERFLOW = "overflow"
    UNPARSABLE = "unparsable"
    SEGMENT = "segment"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of the losses table: `records` were lost between the two times (CLOCK_BOOTTIME).

    `records` counts records, but lines of output for `unparsable`; it is -1 where the number is not known.
    """

    kind: str
    where: str
    records: int
    from_ns: int
    to_ns: int


def losses_table(losses: Iterable[Loss]) -> pa.Table:
    """Put losses into a table, earliest first."""
    rows = [astuple(loss) for loss in sorted(losses, key=lambda loss: (loss.from_ns, loss.to_ns))]
    columns = list(zip(*rows, strict=True)) or [()] * len(LOSSES)
    return pa.Table.from_arrays(
        [pa.array(values, column.type) for values, column in zip(columns, LOSSES, strict=True)], schema=SCHEMA
    )


def losses_of(table: pa.Table) -> list[Loss]:
    """Read losses from a table.

    Raises:
        RecordingError: a column is missing.
    """
    missing = [column.name for column in LOSSES if column.name not in table.column_names]
    if missing:
        raise RecordingError(f"losses.parquet lacks the column {', '.join(missing)}")
    chosen = table.select(SCHEMA.names)
    if chosen.schema.types != SCHEMA.types or any(column.null_count for column in chosen.columns):
        raise RecordingError("losses.parquet is damaged: values are missing, or of another type")
    return [Loss(**row) for row in chosen.to_pylist()]


def count_by_kind(losses: Iterable[Loss]) -> dict[str, int]:
    """Add up the records of each kind; what is not known counts as nothing."""
    found: dict[str, int] = {}
    for loss in losses:
        found[loss.kind] = found.get(loss.kind, 0) + max(loss.records, 0)
    return found
