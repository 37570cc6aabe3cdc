"""What an IO's time was for: the guest's data, the image's tables, copies into new clusters."""

import numpy as np
import pyarrow as pa
import pytest
from tests.builders import a_recorded, a_stream, an_io_table
from tests.stories import Row, events_of

from vio.mappers.extent import RangeMap
from vio.mappers.timed import MapSet, TimedMap
from vio.reporter.imagefiles import ImageFiles
from vio.reporter.iotable import IoTable
from vio.reporter.join import Joiner
from vio.reporter.machine import to_json
from vio.reporter.ofwhich import Purposes
from vio.reporter.paths import Scope
from vio.reporter.report import ReportOptions, report_on
from vio.reporter.text import render_text

NAMES = ("bdrv_read", "bdrv_write", "bdrv_end", "laio")
FD, BACKING, QEMU, US = 9, 11, 100, 1000
TABLE, DATA, OWN = 1 << 16, 1 << 20, 0x777
STACK, INNER = 0x100000, 0x100000 - 0x200
TABLES = {FD: (np.array([0, TABLE]), np.array([1 << 12, TABLE + (1 << 16)]))}


def call(name: str, *, qiov: int, fd: int, offset: int, ticks: int) -> list[Row]:
    """A call of a node below the image's format, handed over, that ends `ticks` microseconds later."""
    begin: Row = (name, 0, QEMU, 2, 512, offset, qiov, INNER)
    hand_over: Row = ("laio", 1, QEMU, fd, 0, offset, qiov, INNER - 0x40)
    idle: list[Row] = [("bdrv_end", 0, QEMU, 0, 0, 0, 0x9900000 - 0x100, 0)] * (ticks - 2)
    return [begin, hand_over, *idle, ("bdrv_end", 0, QEMU, 0, 0, 0, INNER - 0x100, 0)]


def told(name: str, *calls: list[Row], purposes: Purposes | None = None) -> dict[str, int | None]:
    root: list[Row] = [(name, 0, QEMU, 1, 512, 0, OWN, STACK)]
    last: list[Row] = [("bdrv_end", 0, QEMU, 0, 0, 0, STACK - 0x100, 0)]
    # a call and its end, one after the other, from which the distance of the two is learned
    known = [row for one in ("bdrv_read", "bdrv_write") for row in ((one, 0, QEMU, 1, 512, 0, 5, 0x8800000), *last)]
    known = [row if row[0] != "bdrv_end" else (*row[:6], 0x8800000 - 0x100, 0) for row in known]
    rows = [*known, *root, *(row for one in calls for row in one), *last]
    joiner = Joiner({one: number for number, one in enumerate(NAMES, 1)}, Scope())
    table = IoTable({FD: 0}, 1, (True,), purposes or Purposes(TABLES, frozenset({BACKING}), (True,)))
    found: list[dict[str, int | None]] = table.rows(joiner.add(events_of(rows, NAMES, 0), is_last=True)).to_pylist()
    return found[-1]


def shown(row: dict[str, int | None]) -> tuple[int | None, int | None, int | None]:
    return row["metadata_ns"], row["metadata_reads"], row["cow_ns"]


def test_reads_of_tables_are_counted_and_timed() -> None:
    row = told(
        "bdrv_read",
        call("bdrv_read", qiov=1, fd=FD, offset=TABLE + 4096, ticks=10),
        call("bdrv_read", qiov=2, fd=FD, offset=512, ticks=5),
        call("bdrv_read", qiov=OWN, fd=FD, offset=DATA, ticks=20),
    )
    assert shown(row) == (15 * US, 2, 0)


def test_a_first_write_reads_the_backing_file() -> None:
    row = told(
        "bdrv_write",
        call("bdrv_read", qiov=1, fd=BACKING, offset=0, ticks=30),
        call("bdrv_write", qiov=OWN, fd=FD, offset=DATA + 512, ticks=20),
        call("bdrv_write", qiov=2, fd=FD, offset=DATA, ticks=7),
        call("bdrv_write", qiov=3, fd=FD, offset=TABLE, ticks=4),
    )
    assert shown(row) == (4 * US, 0, 37 * US)


def test_old_content_and_data_in_one_write_is_data() -> None:
    row = told("bdrv_write", call("bdrv_write", qiov=2, fd=FD, offset=DATA, ticks=20))
    assert shown(row) == (0, 0, 0)


def test_a_read_from_the_backing_file_is_for_the_guest() -> None:
    row = told("bdrv_read", call("bdrv_read", qiov=OWN, fd=BACKING, offset=DATA, ticks=20))
    assert shown(row) == (0, 0, 0)


def test_where_the_tables_lie_is_not_known() -> None:
    row = told(
        "bdrv_read",
        call("bdrv_read", qiov=1, fd=FD, offset=TABLE, ticks=9),
        purposes=Purposes({}, frozenset(), (False,)),
    )
    assert shown(row) == (None, None, None)


def test_the_tables_of_start_and_stop_count() -> None:
    recorded = a_recorded(disks=1)
    disk = recorded.manifest.target.disks[0]
    spaces = dict.fromkeys(disk.fds, disk.space) or {FD: disk.space}
    maps = [
        TimedMap(RangeMap.of(f"tables:{disk.space}", disk.space, [at], [4096], [at]), when)
        for at, when in ((0, 0), (8192, 5))
    ]
    found = Purposes.of(recorded.manifest, MapSet(tuple(maps)), ImageFiles(spaces=spaces))
    start, end = next(iter(found.tables.values()))
    assert (start.tolist(), end.tolist()) == ([0, 8192], [4096, 12288])


@pytest.mark.parametrize("has_any", [True, False])
def test_the_report_shows_it_where_there_is_any(has_any: bool) -> None:
    ios = an_io_table(50)
    for name, value in (("metadata_ns", 3000), ("metadata_reads", 2), ("cow_ns", 0)):
        values = [value if has_any and row < 10 else None for row in range(50)]
        ios = ios.set_column(ios.column_names.index(name), name, pa.array(values, ios.schema.field(name).type))
    options = ReportOptions(is_table_written=False)
    found = report_on(a_recorded(), a_stream([ios]), options)
    part = to_json(found)["of_which"]
    assert isinstance(part, dict)
    assert (part["metadata"]["count"], part["metadata"]["reads"]) == ((10, 20) if has_any else (0, 0))
    text = render_text(found)
    assert ("tables of the image" in text) == has_any
    assert "copies into new clusters" not in text
