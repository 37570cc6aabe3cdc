"""From what the program of `vio top` prints to figures, a table and JSON."""

import io
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from tests.golden.test_program import SCOPE, chosen

from vio.layer import Layer, Op
from vio.manifest import DeviceInfo
from vio.recorder.disks import Disk
from vio.recorder.procfs import OpenFile
from vio.recorder.top.bucket import bucket_of
from vio.recorder.top.devstat import DeviceCounts, parse_counts, read_counts
from vio.recorder.top.draw import frame_json, frame_page, rate_text, time_text
from vio.recorder.top.figures import Frame, frame
from vio.recorder.top.naming import Below, Names
from vio.recorder.top.slot import Level, Slot, read_slot
from vio.recorder.top.snapshot import Reader, Snapshot
from vio.recorder.top.spanform import BEGIN_TICK, END_TICK, FORMS, TopScope, generate_top
from vio.recorder.top.sums import counted, interval_sums
from vio.recorder.top.target import Watched
from vio.terminal import render

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
VDA, SDB1, SDB = 254 << 20, 8 << 20 | 17, 8 << 20 | 16
SECOND = 10**9


def key(of: int, level: Level, op: int, time_ns: int | None = None) -> int:
    return of << 16 | level << 13 | op << 10 | (0 if time_ns is None else bucket_of(time_ns))


def disk(name: str, inode: int) -> Disk:
    return Disk(
        name=name, names=(name,), model="virtio-blk", format="qcow2", protocol="file", path=f"/{name}", cache="none",
        aio="native", is_read_only=False, device=(254, 0), inode=inode,
    )  # fmt: skip


def device(name: str, number: int, kind: str = "disk", parents: tuple[int, ...] = ()) -> DeviceInfo:
    return DeviceInfo(name, kind, number >> 20, number & 0xFFFFF, number, 1 << 30, parents=parents)


def open_file(fd: int, inode: int) -> OpenFile:
    return OpenFile(fd, "/a", (254, 0), inode, 0, 0, 1, False, False)


ROOT, FILE, STATS, OTHER = 0x7F01, 0x7F02, 0x5501, 0x7F03


def printed(time_s: int, ios: int, *more: str) -> bytes:
    """Make what is printed after so many reads: 100 us in QEMU's device, 90 in its block layer, 80 below, 50 there."""
    lines = [f"{BEGIN_TICK} {time_s * SECOND}", f"@n[0]: {1}", "@c[0]: (0, 0, 0, 0)"]
    levels = [(STATS, Level.QEMU_DEVICE, 100), (ROOT, Level.QEMU_BLOCK, 90), (FILE, Level.QEMU_BLOCK, 85)]
    levels += [(FILE, Level.QEMU_AIO, 80), (VDA, Level.BLOCK, 60), (VDA, Level.DEVICE, 50)]
    for of, level, time_us in levels:
        lines += [f"@n[{key(of, level, 1, time_us * 1000)}]: {ios}", f"@w[{key(of, level, 1)}]: {ios * time_us * 1000}"]
        lines += [f"@y[{key(of, level, 1)}]: {ios * 4096}"] if level < Level.BLOCK else []
    lines += [f"@in[{FILE}]: {ROOT}", f"@fd[{FILE}]: 8", f"@of[{ROOT}, {STATS}]: {ios}"]
    return "\n".join([*lines, *more, END_TICK, ""]).encode()


def snapshots(*pieces: bytes) -> list[Snapshot]:
    reader = Reader()
    found = [one for piece in pieces for one in reader.feed(piece)]
    assert not reader.odd
    return found


def names(*disks: Disk) -> Names:
    found = Names(disks, Below({one.name: (device("vda", VDA),) for one in disks}))
    found.learn_files([open_file(7, 100), open_file(8, 200)])
    return found


COUNTS = {
    VDA: (
        DeviceCounts({Op.READ: 1000}, {Op.READ: 0}, {Op.READ: 1}),
        DeviceCounts({Op.READ: 3020}, {Op.READ: 2020 * 4096}, {Op.READ: 3}),
    )
}


def sample() -> Frame:
    hung = f"@c[{0x7000}]: ({9 * SECOND}, {key(ROOT, Level.QEMU_BLOCK, 2)}, 8192, 0)"
    before, now = snapshots(printed(10, 1000), printed(12, 3000, hung))
    return frame(before, now, names(disk("vda", 100)), COUNTS)


def test_rates_times_and_shares() -> None:
    rows = {(row.layer, row.place.name, row.op): row for row in sample().rows}
    top = rows[Layer.QEMU_DEVICE, "", Op.READ]
    assert (top.iops, top.bytes_per_s, top.mean_ns) == (1000, 1000 * 4096, 100_000)
    assert top.percentiles_ns()[0] == pytest.approx(100_000, rel=1 / 16)
    assert sum(row.share or 0 for row in rows.values() if row.op is Op.READ) == pytest.approx(1, abs=0.02)
    block = rows[Layer.BLOCK, "vda", Op.READ]
    assert (block.sums.ended, block.sums.timed, block.sums.in_flight) == (2020, 2000, 3)
    device_row = rows[Layer.DEVICE, "vda", Op.READ]
    assert not device_row.in_flight_is_known
    assert rows[Layer.QEMU_BLOCK, "file", Op.READ].place.depth == 1


def test_own_times_of_levels_add_up_to_the_time_of_the_first() -> None:
    before, now = snapshots(printed(10, 1000), printed(12, 3000))
    rows = frame(before, now, names(disk("vda", 100))).rows
    assert [round(row.share or 0, 3) for row in rows] == [0.1, 0.05, 0.05, 0.2, 0.1, 0.5]


def test_an_io_that_hangs_counts_with_its_age() -> None:
    hung = f"@c[{0x7000}]: ({9 * SECOND}, {key(ROOT, Level.QEMU_BLOCK, 2)}, 8192, 0)"
    before, now = snapshots(printed(10, 0, hung), printed(12, 0, hung, f"@a[{0x7000}]: {11 * SECOND}"))
    sums = interval_sums(before, now)
    block, aio = (sums[Slot(ROOT, level, Op.WRITE)] for level in (Level.QEMU_BLOCK, Level.QEMU_AIO))
    assert (block.in_flight, block.oldest_ns, block.spent_ns) == (1, 3 * SECOND, 2 * SECOND)
    assert (aio.in_flight, aio.spent_ns) == (1, SECOND)


def test_a_flush_that_reached_nothing_is_not_in_flight() -> None:
    flush = f"@c[{0x7000}]: ({9 * SECOND}, {key(ROOT, Level.QEMU_BLOCK, 3)}, 0, 0)"
    before, now, later = snapshots(printed(10, 0), printed(11, 0, flush), printed(12, 0, flush, f"@a[{0x6F00}]: 1"))
    assert Slot(ROOT, Level.QEMU_BLOCK, Op.FLUSH) not in interval_sums(before, now)
    assert interval_sums(now, later)[Slot(ROOT, Level.QEMU_BLOCK, Op.FLUSH)].in_flight == 1


def test_a_device_that_ends_nothing_has_spent_the_time_of_what_is_in_flight() -> None:
    counts = DeviceCounts({Op.WRITE: 5}, {Op.WRITE: 0}, {Op.WRITE: 4})
    sums = counted({}, {VDA: (counts, counts)}, SECOND)
    assert sums[Slot(VDA, Level.BLOCK, Op.WRITE)].spent_ns == 4 * SECOND


def test_two_disks_are_told_apart_by_their_files_and_one_without_a_file_by_elimination() -> None:
    extra = [f"@of[{OTHER}, {STATS + 1}]: 3", f"@n[{key(OTHER, Level.QEMU_BLOCK, 1, 500)}]: 3"]
    before, now = snapshots(printed(10, 0), printed(11, 5, *extra))
    rows = frame(before, now, names(disk("vda", 100), disk("vdb", 300))).rows
    assert {(row.place.disks, row.layer) for row in rows if row.sums.ended == 3} == {(("vdb",), Layer.QEMU_BLOCK)}
    shared = [row for row in rows if row.layer is Layer.DEVICE]
    assert [(row.place.disks, row.share) for row in shared] == [(("vda", "vdb"), None)]
    three = frame(before, now, names(disk("vda", 100), disk("vdb", 300), disk("vdc", 400))).rows
    assert {row.place.disks for row in three if row.sums.ended == 3} == {("?",)}


def test_a_partition_is_its_disk_and_what_hands_bios_on_has_no_requests() -> None:
    below = Below(
        {
            "vda": (
                device("dm-0", 253 << 20, "dm", (SDB1,)),
                device("sdb1", SDB1, "partition", (SDB,)),
                device("sdb", SDB),
            )
        }
    )
    assert below.queues() == (SDB,)
    assert below.whole() == {SDB1: SDB}
    place = below.place(Slot(SDB, Level.DEVICE, Op.READ))
    assert place
    assert (place.name, place.depth) == ("sdb", 2)
    assert below.place(Slot(VDA, Level.DEVICE, Op.READ)) is None


def test_lines_that_make_no_sense_are_kept() -> None:
    reader = Reader()
    text = f"Attaching 3 probes...\nvio ready\nLost 7 events\n{BEGIN_TICK} 5\n@c[1]: (a, b)\n@x[1]: -1\n{END_TICK}\n"
    halves = text[:40].encode(), text[40:].encode()
    (one,) = [snapshot for half in halves for snapshot in reader.feed(half)]
    assert reader.is_ready
    assert reader.odd == ["Lost 7 events", "@c[1]: (a, b)"]
    assert one.of("x") == {(1, 0): 2**64 - 1}


def test_the_key_that_gives_a_map_its_type_is_no_slot() -> None:
    assert read_slot(0) is None
    assert read_slot(key(ROOT, Level.QEMU_AIO, 4, 77)) == (Slot(ROOT, Level.QEMU_AIO, Op.DISCARD), bucket_of(77))
    assert read_slot(key(ROOT, Level.QEMU_AIO, 7)) == (Slot(ROOT, Level.QEMU_AIO, Op.OTHER), 0)


def test_the_kernels_counts(tmp_path: Path) -> None:
    place = tmp_path / "dev" / "block" / "8:16"
    place.mkdir(parents=True)
    (place / "stat").write_text("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n")
    (place / "inflight").write_text("       2        1\n")
    counts = read_counts(SDB, tmp_path)
    assert counts
    assert counts.requests == {Op.READ: 1, Op.WRITE: 5, Op.DISCARD: 12, Op.FLUSH: 16}
    assert counts.bytes == {Op.READ: 3 * 512, Op.WRITE: 7 * 512, Op.DISCARD: 14 * 512, Op.FLUSH: 0}
    assert counts.in_flight == {Op.READ: 2, Op.WRITE: 1}
    assert read_counts(VDA, tmp_path) is None
    assert parse_counts("1 2", "0 0") is None
    old = parse_counts("1 2 3 4 5 6 7 8 9 10 11", "0 0")
    assert old
    assert set(old.requests) == {Op.READ, Op.WRITE}


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(None, "-"), (450, "0.5 us"), (99_000, "99.0 us"), (152_400, "152 us"), (3.4e6, "3.4 ms"), (12e9, "12.0 s")],
)
def test_times_are_short(time_ns: float | None, text: str) -> None:
    assert time_text(time_ns) == text


def test_rates_are_short() -> None:
    assert [rate_text(rate) for rate in (0, 0.25, 9.9, 12.3, 50566.4)] == ["0", "0.2", "9.9", "12", "50,566"]


def compare(name: str, text: str) -> None:
    if os.environ.get("VIO_REGENERATE") == "1":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text(), "it has changed: VIO_REGENERATE=1 pytest, and read the difference"


def drawn(what: RenderableType) -> str:
    return render(what, io.StringIO()) + "\n"


def test_the_table() -> None:
    compare("top.txt", drawn(frame_page(Watched("web1 (pid 4711)", "web1", 4711), sample(), NOW)))


def test_a_narrow_terminal_gets_fewer_columns() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(frame_page(Watched("web1 (pid 4711)", "web1", 4711), sample(), NOW))
    head, *lines = text.getvalue().splitlines()[1:]
    assert head.split() == ["disk", "layer", "op", "IOPS", "MiB/s", "p50", "p99", "in", "flight", "own", "time"]
    assert "…" not in "".join(lines)


def test_nothing_to_show() -> None:
    page = drawn(frame_page(Watched("web1 (pid 4711)", "web1", 4711), Frame(0, 1.0, (), ("a note",)), NOW))
    assert page == "web1 (pid 4711), 05:06:07, the last 1.0 s\nno IO\nnote: a note\n"


def test_the_json_and_its_keys_are_documented() -> None:
    data = frame_json(Watched("web1 (pid 4711)", "web1", 4711), sample(), NOW)
    compare("top.json", json.dumps(data, indent=1) + "\n")
    text = (Path(__file__).parents[2] / "docs" / "top.md").read_text()
    rows = data["layers"]
    assert isinstance(rows, list)
    assert not [name for name in (*data, *rows[0]) if f"`{name}`" not in text]


def test_the_program() -> None:
    scope = TopScope(SCOPE, 1000, queues=(7 << 20,), whole={254 << 20 | 1: 254 << 20})
    text = generate_top(chosen(), scope)
    compare("top.bt", text)
    assert not re.search(r"\buret|\bkret", text)
    assert all(f"// {point} (" in text for point in FORMS)
