"""Links from bios to the IOs whose bytes they write back, told as stories of events of aio=threads."""

import itertools
from dataclasses import dataclass, field

import numpy as np
from tests.stories import Row, events_of

from vio.mappers.extent import RangeMap
from vio.mappers.timed import MapSet, TimedMap
from vio.reporter.iotable import IoTable
from vio.reporter.join import Joiner
from vio.reporter.match import NONE
from vio.reporter.paths import Scope
from vio.reporter.writeback import CachedDisks, Writeback

KIB = 1024
DISK = 254 << 20
FD, FILE_TO_DEVICE = 9, 1 << 30
QEMU, WORKER, KWORKER = 100, 101, 7
WRITE, FLUSH = 2, 3
NAMES = (
    *("bdrv_write", "bdrv_flush", "bdrv_end", "bdrv_flush_end", "pool", "pwrite64", "pwrite64_end"),
    *("fdatasync", "fdatasync_end", "fallocate", "fallocate_end", "bio_queue", "bio_split", "rq_issue", "rq_complete"),
)
GUEST_NAMES = (*NAMES, "accept", "aio_get", "push")
MAPS = MapSet((TimedMap(RangeMap.of("file:a", "dev:254:0", 0, 1 << 20, FILE_TO_DEVICE), 0),))


@dataclass
class Story:
    """Rows of events, one a microsecond, and where a window ends."""

    names: tuple[str, ...] = NAMES
    rows: list[Row] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    calls: int = 0

    def event(
        self,
        name: str,
        tid: int,
        *,
        flags: int = 0,
        space: int = 0,
        size: int = 0,
        offset: int = 0,
        key: int = 0,
        aux: int = 0,
    ) -> None:
        self.rows.append((name, flags, tid, space, size, offset, key, aux))

    def begin_write(self, offset: int, size: int, *, qiov: int = 0) -> int:
        """A root call, handed to a worker, which has done it; return the call's stack."""
        self.calls += 1
        stack = self.calls * 0x100000
        self.event("bdrv_write", QEMU, offset=offset, size=size, key=qiov or stack + 0x999, aux=stack)
        self.hand_over("pwrite64", stack, offset, size)
        return stack

    def hand_over(self, call: str, stack: int, offset: int, size: int) -> None:
        kind = {"pwrite64": 2, "fallocate": 0x10, "fdatasync": 8}[call]
        self.event("pool", QEMU, flags=kind, space=FD, size=size, offset=offset, aux=stack - 0x40)
        is_zero = call == "fallocate"
        self.event(call, WORKER, space=FD, offset=offset, size=0 if is_zero else size, key=size if is_zero else 0)
        if call != "fdatasync":
            self.event(f"{call}_end", WORKER)

    def end_write(self, stack: int) -> None:
        self.event("bdrv_end", QEMU, key=stack - 0x100)

    def write(self, offset: int, size: int = 4 * KIB) -> None:
        self.end_write(self.begin_write(offset, size))

    def bio(self, offset: int, size: int = 4 * KIB, *, tid: int = KWORKER, is_done: bool = True) -> None:
        """A bio on the place of the image's bytes, and its request."""
        at = FILE_TO_DEVICE + offset
        for name in ("bio_queue", "rq_issue", "rq_complete")[: 3 if is_done else 2]:
            self.event(name, tid, flags=WRITE, space=DISK, size=size, offset=at)

    def window(self) -> None:
        self.cuts.append(len(self.rows))


def told(story: Story, maps: MapSet = MAPS) -> tuple[Writeback, list[tuple[int, int, int]]]:
    """Join the story; return the writeback, and its links as (IO, place in the file, bytes)."""
    joiner = Joiner({name: number for number, name in enumerate(story.names, 1)}, Scope())
    table, writeback = IoTable({FD: 0}, 1, (False,)), Writeback(maps, CachedDisks(("file:a",), {FD: 0}))
    edges = [0, *story.cuts, len(story.rows)]
    for place, (first, last) in enumerate(itertools.pairwise(edges)):
        is_last = place == len(edges) - 2
        joined = joiner.add(events_of(story.rows[first:last], story.names, first), is_last=is_last)
        number = np.full(joined.is_done.size, NONE)
        number[joined.is_done] = table.rows(joined)["io"].to_numpy()
        writeback.add(joined, number, np.zeros(number.size, dtype=np.int64), is_last=is_last)
    rows = writeback.take().to_pylist()
    assert all(row["device_offset"] == FILE_TO_DEVICE + row["file_offset"] for row in rows)
    figures = writeback.figures
    spent = figures.linked_bytes + figures.own_bytes
    kept = figures.overwritten_bytes + figures.dropped_bytes + figures.left_bytes + figures.lost_bytes
    assert figures.cached_bytes == spent + kept
    rest = figures.qemu_bytes + figures.unwritten_bytes + figures.disagreeing_bytes + figures.unmapped_bytes
    assert figures.device_bytes == spent + rest
    return writeback, sorted((row["io"], row["file_offset"], row["bytes"]) for row in rows)


def test_a_bio_of_several_ios_is_linked_to_each_and_an_io_to_several_bios() -> None:
    story = Story()
    story.write(0)
    story.write(4 * KIB)
    story.bio(0, 6 * KIB)
    story.bio(6 * KIB, 2 * KIB)

    assert told(story)[1] == [(0, 0, 4 * KIB), (1, 4 * KIB, 2 * KIB), (1, 6 * KIB, 2 * KIB)]


def test_the_last_writer_is_linked_and_the_one_before_is_counted_as_overwritten() -> None:
    story = Story()
    story.write(0, 8 * KIB)
    story.write(4 * KIB)
    story.bio(0, 8 * KIB)
    writeback, links = told(story)

    assert links == [(0, 0, 4 * KIB), (1, 4 * KIB, 4 * KIB)]
    assert writeback.figures.overwritten_bytes == 4 * KIB


def test_what_is_written_after_the_bio_was_queued_waits_for_the_next() -> None:
    story = Story()
    story.write(0)
    story.bio(0)
    story.write(0)
    story.bio(0)
    story.write(0)
    writeback, links = told(story)

    assert links == [(0, 0, 4 * KIB), (1, 0, 4 * KIB)]
    assert (writeback.figures.left_bytes, writeback.figures.left_ios) == (4 * KIB, 1)


def test_bytes_that_nobody_wrote_and_places_that_no_map_knows_are_named() -> None:
    story = Story()
    story.write(0, 512)
    story.bio(0)
    story.bio(5 << 20)
    writeback, links = told(story)

    assert links == [(0, 0, 512)]
    assert writeback.figures.unwritten_bytes == 4 * KIB - 512
    assert writeback.figures.unmapped_bytes == 4 * KIB


def test_without_a_map_nothing_is_linked_and_nothing_is_kept() -> None:
    story = Story()
    story.write(0)
    story.bio(0)
    writeback, links = told(story, MapSet(()))

    assert links == []
    assert writeback.figures.lost_bytes == 4 * KIB


def test_what_goes_to_a_file_that_is_not_known_is_counted_and_not_followed() -> None:
    story = Story()
    story.write(0)
    story.rows = [(*row[:3], 77 if row[3] == FD else row[3], *row[4:]) for row in story.rows]
    story.bio(0)
    writeback, links = told(story)

    assert links == []
    assert writeback.figures.lost_bytes == 4 * KIB
    assert writeback.figures.unwritten_bytes == 4 * KIB


def test_what_was_discarded_in_the_cache_is_not_written_back() -> None:
    story = Story()
    story.write(0, 8 * KIB)
    stack = story.begin_write(64 * KIB, 4 * KIB)
    story.hand_over("fallocate", stack, 4 * KIB, 4 * KIB)
    story.end_write(stack)
    story.bio(0, 8 * KIB)
    writeback, links = told(story)

    assert links == [(0, 0, 4 * KIB)]
    assert writeback.figures.dropped_bytes == 4 * KIB


def test_a_bio_that_was_cut_has_the_requests_of_its_pieces() -> None:
    story = Story()
    story.write(0, 12 * KIB)
    at = FILE_TO_DEVICE
    story.event("bio_queue", KWORKER, flags=WRITE, space=DISK, size=12 * KIB, offset=at)
    for first in (4 * KIB, 8 * KIB):
        story.event("bio_split", KWORKER, flags=WRITE, space=DISK, offset=at + first - 4 * KIB, key=(at + first) // 512)
    for name in ("rq_issue", "rq_complete"):
        for first in (0, 4 * KIB, 8 * KIB):
            story.event(name, KWORKER, flags=WRITE, space=DISK, size=4 * KIB, offset=at + first)
    writeback, links = told(story)

    assert links == [(0, 0, 4 * KIB), (0, 4 * KIB, 4 * KIB), (0, 8 * KIB, 4 * KIB)]
    assert writeback.figures.after_end.count == 3
    for first in range(1, len(story.rows)):
        writeback, links = told(Story(rows=story.rows, cuts=[first]))
        assert writeback.figures.device_bytes == 12 * KIB, first
        assert writeback.figures.linked_bytes == 12 * KIB, first


def test_windows_may_end_anywhere() -> None:
    whole = Story()
    for number in range(4):
        whole.write(number * 8 * KIB, 8 * KIB)
        whole.bio(number * 8 * KIB + 4 * KIB)
    late = whole.begin_write(0, 4 * KIB)
    whole.bio(0, is_done=False)
    whole.event("rq_complete", KWORKER, flags=WRITE, space=DISK, size=4 * KIB, offset=FILE_TO_DEVICE)
    whole.end_write(late)
    expected = told(whole)[1]
    assert len(expected) == 5
    for first in range(1, len(whole.rows) - 1):
        cut = Story(rows=whole.rows, cuts=[first, (first + len(whole.rows)) // 2])
        writeback, links = told(cut)
        assert links == expected, first
        assert writeback.figures.after_end.count == 5, first


def test_a_flush_that_writes_back_is_the_cause_and_its_own_writes_are_its_own() -> None:
    story = Story()
    story.write(0)
    story.calls += 1
    stack = story.calls * 0x100000
    story.event("bdrv_flush", QEMU, aux=stack)
    story.hand_over("pwrite64", stack, 64 * KIB, 4 * KIB)
    story.hand_over("fdatasync", stack, 0, 0)
    story.bio(0, tid=WORKER)
    story.bio(64 * KIB, tid=WORKER)
    story.event("fdatasync_end", WORKER)
    story.event("bdrv_flush_end", QEMU, aux=stack - 0x80)
    writeback, links = told(story)

    assert links == [(0, 0, 4 * KIB)]
    assert writeback.figures.own_bytes == 4 * KIB
    assert writeback.figures.caused_bytes == 4 * KIB


def test_what_qemu_merged_is_linked_to_the_requests_that_were_merged() -> None:
    story = Story(GUEST_NAMES)
    requests = (0x1000, 0x2000, 0x3000)
    for place, request in enumerate(requests):
        story.event("accept", QEMU, flags=2, size=4 * KIB, offset=place * 4 * KIB, key=request)
    story.event("aio_get", QEMU, key=requests[0])
    stack = story.begin_write(0, 12 * KIB, qiov=requests[0] + 0x50)
    story.end_write(stack)
    for request, following in zip(requests, (*requests[1:], 0), strict=True):
        story.event("push", QEMU, key=request, offset=following)
    story.bio(0, 8 * KIB)

    assert told(story)[1] == [(0, 0, 4 * KIB), (1, 4 * KIB, 4 * KIB)]
