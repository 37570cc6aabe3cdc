"""What the run itself shows of the disks' maps, as sentences and for machines."""

from collections.abc import Iterator
from pathlib import Path

from vio.reporter.grid import wrapped
from vio.reporter.shown import ShownFigures
from vio.reporter.units import bytes_text

Json = dict[str, object]


def shown_lines(figures: ShownFigures) -> Iterator[str]:
    """Say what of the disks lies elsewhere than the taken maps say; nothing where the maps say all that was seen."""
    parts = [f"{bytes_text(figures.placed_bytes)} of qcow2 disks at places that the maps of the start do not have"]
    for count, what in (
        (figures.unflushed_bytes, "of these are not in the maps of the stop either (not flushed)"),
        (figures.gone_bytes, "have no certain place any more"),
        (figures.disputed_bytes, "were seen at places that cannot be put in order, and are left out"),
        (figures.forgotten_bytes, "were not followed to the end"),
    ):
        parts += [f"{bytes_text(count)} {what}"] if count else []
    if figures.placed_bytes or len(parts) > 1:
        yield from wrapped(f"shown by the run: {'; '.join(parts)}")
    left_out = [f"{count:,} {why}" for why, count in figures.left_out.items() if count]
    if left_out:
        yield from wrapped(f"IOs that show no place: {'; '.join(left_out)}")


def shown_data(figures: ShownFigures, table: Path | None) -> Json:
    """Return the figures for machines (docs/report-json.md)."""
    return {
        "placed_bytes": figures.placed_bytes,
        "unflushed_bytes": figures.unflushed_bytes,
        "gone_bytes": figures.gone_bytes,
        "disputed_bytes": figures.disputed_bytes,
        "forgotten_bytes": figures.forgotten_bytes,
        "left_out": [{"reason": why, "io_count": count} for why, count in figures.left_out.items() if count],
        "table": str(table) if table else None,
    }
