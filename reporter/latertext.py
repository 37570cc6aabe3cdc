"""What comes after an IO's end in its timeline: what of it was written back, by which bios."""

from collections.abc import Sequence

from vio.printable import printable
from vio.reporter.grid import Grid, Style
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.reporter.units import MICROSECOND, bytes_text

_SHOWN = 64


def later_grid(row: IoRow, later: Sequence[IoRow], recorded: Recorded) -> Grid:
    """List the first writebacks of an IO (rows of schema.WRITEBACKS), times in us from its begin."""
    grid = Grid(
        ("later, not charged (us)", "queued", "issued", "complete", "image file", "device"), frozenset({0, 4, 5})
    )
    begin_ns = number_in(row, "begin_ns")
    in_order = sorted(later, key=lambda one: (number_in(one, "queued_ns"), number_in(one, "file_offset")))
    for one in in_order[:_SHOWN]:
        times = [one[f"{name}_ns"] for name in ("queued", "issued", "completed")]
        device = printable(recorded.device_name(number_in(one, "device")))
        grid.add(
            "writeback" if one["caused_by"] is None else f"writeback by IO {one['caused_by']}",
            *("not seen" if time is None else MICROSECOND.text(time - begin_ns) for time in times),
            f"{number_in(one, 'file_offset'):#x} + {bytes_text(number_in(one, 'bytes'))}",
            f"{device} {number_in(one, 'device_offset'):#x}",
        )
    return grid


def left_out(later: Sequence[IoRow]) -> str:
    """Say how many writebacks the grid leaves out, if it does."""
    return f"... and {len(later) - _SHOWN:,} more, in the table of writebacks" if len(later) > _SHOWN else ""


def later_lines(row: IoRow, later: Sequence[IoRow], recorded: Recorded, style: Style) -> list[str]:
    """Write the writebacks of an IO as lines; [] if there are none."""
    if not later:
        return []
    return ["", *later_grid(row, later, recorded).lines(style), *filter(None, (left_out(later),))]
