"""The guest's files in a report: lines for a terminal, and an object for JSON."""

from collections.abc import Iterator, Sequence

from vio.printable import printable
from vio.reporter.byfile import FileFigures
from vio.reporter.grid import Grid, Style
from vio.reporter.recorded import Recorded
from vio.reporter.units import bytes_text, share_text, time_text

MOST = 20


def file_lines(files: Sequence[FileFigures], recorded: Recorded, style: Style) -> Iterator[str]:
    """Draw the files whose IOs took the longest time, and how many there are besides."""
    total_ns = sum(one.latency_ns for one in files)
    grid = Grid(("guest's file", "disk", "IOs", "read", "written", "share", "mean", "max"), frozenset({0, 1}))
    for one in files[:MOST]:
        grid.add(
            printable(one.name),
            printable(recorded.disk_name(one.disk)),
            f"{one.io_count:,}",
            bytes_text(one.read_bytes),
            bytes_text(one.written_bytes),
            share_text(one.latency_ns / total_ns) if total_ns else "-",
            time_text(one.latency_ns / one.ended_count) if one.ended_count else "-",
            time_text(one.max_ns) if one.ended_count else "-",
        )
    yield from grid.lines(style)
    if len(files) > MOST:
        yield f"and {len(files) - MOST:,} more files"
    yield "An IO that touches several files counts for each. Files as they lay when the recording ended."


def file_data(one: FileFigures, recorded: Recorded) -> dict[str, object]:
    """Give a file's figures as plain data."""
    return {
        "name": one.name,
        "disk": recorded.disk_name(one.disk),
        "io_count": one.io_count,
        "read_bytes": one.read_bytes,
        "written_bytes": one.written_bytes,
        "latency_ns": one.latency_ns,
        "ended_io_count": one.ended_count,
        "max_ns": one.max_ns,
    }
