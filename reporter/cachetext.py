"""What a report says of the page cache: how much of what was written to it went to a device, and when."""

from collections.abc import Iterator

from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.grid import wrapped
from vio.reporter.units import bytes_text, share_text, time_text

_NOT_LINKED = {
    "qemu_bytes": "QEMU's own, beside its IOs",
    "unwritten_bytes": "that no recorded IO wrote (dirty before, the rest of a page)",
    "disagreeing_bytes": "where the maps of start and stop differ",
    "unmapped_bytes": "no map (journals, other files, extents that came and went)",
}


def not_linked(figures: WritebackFigures) -> list[tuple[str, int]]:
    """Name what was written to the devices and is not linked to an IO, with its bytes."""
    return [(why, int(getattr(figures, name))) for name, why in _NOT_LINKED.items() if getattr(figures, name)]


def cache_lines(figures: WritebackFigures) -> Iterator[str]:
    """Write the figures as sentences; nothing where nothing went through the page cache."""
    if not figures.cached_bytes:
        return
    share = figures.written_back_share or 0.0
    parts = [f"{share_text(share)} written back ({figures.linked_bios:,} bios, linked by address, not charged)"]
    for count, what in (
        (figures.overwritten_bytes, "overwritten before that"),
        (figures.dropped_bytes, "discarded before that"),
        (figures.left_bytes, f"still in the cache ({figures.left_ios:,} IOs)"),
        (figures.lost_bytes, "not followed"),
    ):
        parts += [f"{bytes_text(count)} {what}"] if count else []
    yield from wrapped(f"page cache: {bytes_text(figures.cached_bytes)} written by IOs: {', '.join(parts)}")
    if figures.after_end.count:
        p50, p99 = figures.after_end.quantiles_ns([0.5, 0.99])
        times = f"p50 {time_text(p50)}, p99 {time_text(p99)}, max {time_text(figures.after_end.max_ns)}"
        caused = (
            f"; {bytes_text(figures.caused_bytes)} in calls of other IOs, as flushes" if figures.caused_bytes else ""
        )
        yield from wrapped(f"writeback complete, after the IO's end: {times}{caused}")
    rest = "; ".join(f"{bytes_text(count)} {why}" for why, count in not_linked(figures)) or "nothing"
    yield from wrapped(f"not linked, of {bytes_text(figures.device_bytes)} written to the devices: {rest}")
