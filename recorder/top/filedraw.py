"""Figures by file as a table for people, and as one JSON object for machines (docs/top.md has every key). Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vio.printable import printable
from vio.recorder.top.draw import rate_text, time_text
from vio.recorder.top.filefigures import FileFrame, FileRow, OpenedAs

_MEBI = 1 << 20
MOST_ROWS = 30


def file_page(frame: FileFrame, now: datetime, most: int = MOST_ROWS) -> Group:
    """Return all that is shown of an interval: the rows with the longest waits."""
    lines: list[Table | Text] = [Text(f"files, {now:%H:%M:%S}, the last {frame.seconds:.1f} s")]
    lines.append(_table(frame, frame.rows[:most]) if frame.rows else Text("no IO on files"))
    if len(frame.rows) > most:
        lines.append(Text(f"{len(frame.rows) - most} rows more: --json has all"))
    if frame.others:
        lines.append(Text(f"{frame.others:,} calls on sockets, pipes and terminals"))
    return Group(*lines, *(Text(f"note: {note}") for note in frame.notes))


def _table(frame: FileFrame, rows: Sequence[FileRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("process", no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("of", no_wrap=True)
    table.add_column("op", no_wrap=True)
    for name in ("calls/s", "MiB/s", "mean wait", "waiting"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for row in rows:
        mean_ns = row.waited_ns / row.calls if row.calls and not row.is_async else None
        table.add_row(
            printable(row.opened.process) or "(ended)",
            str(row.pid),
            printable(_whose(row.opened)),
            "aio" if row.is_async else row.op,
            rate_text(row.calls / frame.seconds),
            "-" if row.is_async else rate_text(row.bytes / frame.seconds / _MEBI),
            time_text(mean_ns),
            "-" if row.is_async else f"{row.waited_ns / frame.seconds / 1e9:.0%}",
            _path(row.opened),
        )
    return table


def _whose(opened: OpenedAs) -> str:
    if opened.vm:
        return f"VM {opened.vm}" + f" {opened.disk}" * bool(opened.disk)
    return opened.container


def _path(opened: OpenedAs) -> str:
    return printable(opened.path) if opened.path else "(closed)"


def file_json(frame: FileFrame, now: datetime) -> dict[str, object]:
    """Return an interval's figures as JSON has them."""
    return {
        "time": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "interval_s": round(frame.seconds, 6),
        "files": [_row_json(row, frame.seconds) for row in frame.rows],
        "other_calls": frame.others,
        "notes": list(frame.notes),
    }


def _row_json(row: FileRow, seconds: float) -> dict[str, object]:
    return {
        "pid": row.pid,
        "process": row.opened.process,
        "container": row.opened.container,
        "vm": row.opened.vm,
        "disk": row.opened.disk,
        "path": row.opened.path or None,
        "op": str(row.op),
        "is_async": row.is_async,
        "calls": row.calls,
        "calls_per_s": round(row.calls / seconds, 3),
        "bytes_per_s": None if row.is_async else round(row.bytes / seconds, 3),
        "mean_wait_ns": round(row.waited_ns / row.calls) if row.calls and not row.is_async else None,
        "waiting": None if row.is_async else round(row.waited_ns / seconds / 1e9, 6),
        "under_way": row.waiting,
    }
