"""Figures as a table for people, and as one JSON object for machines (docs/top.md has every key). Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from vio.printable import printable
from vio.recorder.top.figures import PERCENTILES, Frame, Row
from vio.recorder.top.target import Watched

_NOTHING = "-"
_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000))
_MEBI = 1 << 20
_NUMBERS = ("IOPS", "MiB/s", *(f"p{share * 100:g}" for share in PERCENTILES), "max", "in flight", "oldest")
_WIDE_ONLY = frozenset({"p95", "max", "oldest"})
_WIDE = 110  # columns that the whole table takes
_BRIGHT = 0.25  # of a disk's time: a layer that has more stands out


def time_text(time_ns: float | None) -> str:
    """Write a time with three digits or so."""
    if time_ns is None:
        return _NOTHING
    unit, factor = next((pair for pair in _UNITS if time_ns >= pair[1]), _UNITS[-1])
    value = time_ns / factor
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def rate_text(rate: float) -> str:
    """Write a rate: whole numbers, but one digit more of what is below ten."""
    return f"{rate:,.0f}" if rate >= 9.95 or not rate else f"{rate:.1f}"


def layer_text(row: Row) -> str:
    """Name a row's layer: with the device, or as the node of the file below the disk's own."""
    return f"{row.layer} {printable(row.place.name)}".rstrip()


def head_text(watched: Watched, frame: Frame, now: datetime) -> str:
    """Say what is shown, and when."""
    return f"{watched.title}, {now:%H:%M:%S}, the last {frame.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The figures as a table, a disk's layers top to bottom; a narrow terminal gets fewer columns."""

    frame: Frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        yield _table(self.frame, is_narrow=options.max_width < _WIDE)


def _table(frame: Frame, *, is_narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=is_narrow)
    for name in ("disk", "layer", "op"):
        table.add_column(name, no_wrap=True)
    numbers = [name for name in _NUMBERS if not (is_narrow and name in _WIDE_ONLY)]
    for name in (*numbers, "own time"):
        table.add_column(name, justify="right", no_wrap=True)
    before: Row | None = None
    for row in frame.rows:
        is_new_disk = before is None or before.place.disks != row.place.disks
        is_new_level = before is None or before.place != row.place
        texts = dict(zip(_NUMBERS, _numbers(row), strict=True))
        table.add_row(
            ", ".join(map(printable, row.place.disks)) if is_new_disk else "",
            layer_text(row) if is_new_level else "",
            row.op,
            *(texts[name] for name in numbers),
            _share_text(row.share) if is_new_level else "",
        )
        before = row
    return table


def _numbers(row: Row) -> list[str]:
    times = [*row.percentiles_ns(), row.longest_ns]
    return [
        rate_text(row.iops),
        rate_text(row.bytes_per_s / _MEBI),
        *map(time_text, times),
        str(row.sums.in_flight) if row.in_flight_is_known else _NOTHING,
        time_text(row.sums.oldest_ns or None),
    ]


def _share_text(share: float | None) -> Text:
    if share is None:
        return Text(_NOTHING)
    return Text(f"{share:.0%}", style="bold" if share >= _BRIGHT else "")


def frame_page(watched: Watched, frame: Frame, now: datetime) -> Group:
    """Return all that is shown of an interval."""
    what = FrameTable(frame) if frame.rows else Text("no IO")
    return Group(Text(head_text(watched, frame, now)), what, *(Text(f"note: {note}") for note in frame.notes))


def frame_json(watched: Watched, frame: Frame, now: datetime) -> dict[str, object]:
    """Return an interval's figures as JSON has them."""
    return {
        "time": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "interval_s": round(frame.seconds, 6),
        "name": watched.name,
        "pid": watched.pid,
        "layers": [_row_json(row) for row in frame.rows],
        "notes": list(frame.notes),
    }


def _row_json(row: Row) -> dict[str, object]:
    percentiles = zip(PERCENTILES, row.percentiles_ns(), strict=True)
    return {
        "disks": list(row.place.disks),
        "layer": str(row.layer),
        "part": row.place.name,
        "op": str(row.op),
        "ios": row.sums.ended,
        "timed": row.sums.timed,
        "iops": round(row.iops, 3),
        "bytes_per_s": round(row.bytes_per_s, 3),
        "mean_ns": _whole(row.mean_ns),
        **{f"p{share * 100:g}_ns": _whole(time_ns) for share, time_ns in percentiles},
        "max_ns": row.longest_ns,
        "in_flight": row.sums.in_flight if row.in_flight_is_known else None,
        "oldest_ns": row.sums.oldest_ns or None,
        "share": None if row.share is None else round(row.share, 6),
    }


def _whole(time_ns: float | None) -> int | None:
    return None if time_ns is None else round(time_ns)
