"""What waits where its layer says nothing: bios that are held back, locks before the file system's first event."""

import itertools

import numpy as np
import pytest
from tests.stories import Row, events_of

from vio.layer import Phase, Stage
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Kind
from vio.mappers.timed import MapSet, TimedMap
from vio.reporter.held import ImagePlaces
from vio.reporter.iotable import IoTable
from vio.reporter.join import Joiner
from vio.reporter.ofwhich import _divide, _united
from vio.reporter.paths import Scope
from vio.schema import LACKS, time_column

NAMES = (
    *("bdrv_read", "bdrv_write", "bdrv_end", "laio", "io_submit", "io_submit_end", "dio", "dio_end"),
    *("bio_queue", "rq_issue", "rq_complete", "lock_wait", "lock_wait_end"),
)
FILE, INODE, FD, DISK, QEMU, KWORKER = 9 << 20, 131, 9, 254 << 20, 100, 7
BEGINS, SIZE = 1 << 30, 4096
NO_BIO = next(bit for bit, what in LACKS.items() if what == "the bio of a direct IO")
MAPS = MapSet(
    (
        TimedMap(
            RangeMap.of("file:a", "dev:254:0", [0, 1 << 20], 1 << 20, [BEGINS, -1], [Kind.MAPPED, Kind.UNMAPPED]), 0
        ),
    )
)
US = 1000


class Story:
    """Reads and writes by aio=native, an event each microsecond."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.cuts: list[int] = []

    def event(
        self,
        name: str,
        tid: int = QEMU,
        flags: int = 0,
        space: int = 0,
        size: int = 0,
        offset: int = 0,
        key: int = 0,
        aux: int = 0,
    ) -> None:
        self.rows.append((name, flags, tid, space, size, offset, key, aux))

    def queue(self, number: int, offset: int, *, is_write: bool = False) -> None:
        stack = (number + 1) * 0x100000
        self.event("bdrv_write" if is_write else "bdrv_read", size=SIZE, offset=offset, key=stack + 1, aux=stack)
        self.event("laio", flags=2 if is_write else 1, space=FD, offset=offset, key=stack + 1, aux=stack - 0x40)

    def end(self, number: int) -> None:
        self.event("bdrv_end", key=(number + 1) * 0x100000 - 0x100)

    def dio(self, offset: int, size: int = SIZE) -> None:
        self.event("dio", space=FILE, size=size, offset=offset, key=INODE)

    def dio_end(self, offset: int, size: int = SIZE) -> None:
        self.event("dio_end", KWORKER, space=FILE, size=size, offset=offset + size, key=INODE)

    def bio(self, offset: int, tid: int, size: int = SIZE) -> None:
        for name in ("bio_queue", "rq_issue", "rq_complete"):
            self.event(name, tid, flags=1, space=DISK, size=size, offset=BEGINS + offset)

    def told(self) -> list[dict[str, int]]:
        """Join the story, in as many windows as it was cut into; return the rows of the per-IO table."""
        places = ImagePlaces(MAPS, {"file:a": (FILE, INODE)})
        scope = Scope(frozenset({(FILE, INODE)}), (), {FD: (FILE, INODE)}, places=places)
        joiner = Joiner({name: number for number, name in enumerate(NAMES, 1)}, scope)
        table, found = IoTable({FD: 0}, 1, (True,)), []
        edges = [0, *self.cuts, len(self.rows)]
        for place, (first, last) in enumerate(itertools.pairwise(edges)):
            events = events_of(self.rows[first:last], NAMES, first)
            found += table.rows(joiner.add(events, is_last=place == len(edges) - 2)).to_pylist()
        return found


def spent(row: dict[str, int], stage: Stage) -> int:
    return sum(row[time_column(stage, phase)] or 0 for phase in Phase)


def held_back(cut: str = "") -> Story:
    """A read whose bio is queued 20 us after its io_submit; a window may end before the bio, or behind it."""
    story = Story()
    story.queue(0, 0)
    story.event("io_submit", size=1)
    story.dio(0)
    story.event("io_submit_end")
    if cut == "before":
        story.cuts.append(len(story.rows))
    for _ in range(20):
        story.event("lock_wait_end", 999)
    story.bio(0, KWORKER)
    if cut == "behind":
        story.cuts.append(len(story.rows))
    story.dio_end(0)
    story.end(0)
    return story


def test_a_bio_that_is_held_back_waits_in_the_block_layer() -> None:
    (row,) = held_back().told()
    assert row["is_whole"]
    assert row[time_column(Stage.BLOCK, Phase.DOWN)] == 22 * US
    assert spent(row, Stage.DEVICE) == 1 * US
    assert spent(row, Stage.FS) == 2 * US


@pytest.mark.parametrize("cut", ["before", "behind"])
def test_it_is_joined_across_windows_too(cut: str) -> None:
    (row,) = held_back(cut).told()
    assert row["is_whole"]
    assert spent(row, Stage.BLOCK) == 22 * US


def test_two_reads_of_one_place_have_a_bio_each() -> None:
    story = Story()
    for number in range(2):
        story.queue(number, 0)
    story.event("io_submit", size=2)
    story.dio(0)
    story.dio(0)
    story.event("io_submit_end")
    story.bio(0, KWORKER)
    story.dio_end(0)
    story.end(0)
    story.bio(0, KWORKER)
    story.dio_end(0)
    story.end(1)
    assert [(row["is_whole"], row["reached"]) for row in story.told()] == [(True, 6), (True, 6)]


def test_of_a_direct_io_in_two_bios_the_second_may_be_held_back() -> None:
    story = Story()
    story.queue(0, 0)
    story.event("io_submit", size=1)
    story.dio(0, 2 * SIZE)
    story.bio(0, QEMU)
    story.event("io_submit_end")
    story.bio(SIZE, KWORKER)
    story.dio_end(0, 2 * SIZE)
    story.end(0)
    (row,) = story.told()
    assert row["is_whole"]
    assert row["t_rq_complete_ns"] == next(
        number * US for number, event in reversed(list(enumerate(story.rows))) if event[0] == "rq_complete"
    )


def bare(offset: int, *, is_write: bool) -> int:
    story = Story()
    # another IO shows that bios are seen
    for number, at in ((0, 0), (1, offset)):
        story.queue(number, at, is_write=is_write)
        story.event("io_submit", size=1)
        story.dio(at)
        if number == 0:
            story.bio(at, QEMU)
        story.event("io_submit_end")
        story.dio_end(at)
        story.end(number)
    return story.told()[1]["lack"]


def test_a_direct_io_that_must_have_had_a_bio_lacks_it() -> None:
    assert bare(SIZE, is_write=False) == NO_BIO
    assert bare(SIZE, is_write=True) == NO_BIO
    assert bare(1 << 20, is_write=True) == NO_BIO


def test_a_read_of_a_hole_needs_none() -> None:
    assert bare(1 << 20, is_write=False) == 0


def locked(*, of_vcpu: bool = False) -> list[dict[str, int]]:
    """Two reads in one io_submit; the file system waits for a lock before the second."""
    story = Story()
    story.queue(0, 0)
    story.queue(1, SIZE)
    if of_vcpu:  # a page fault: the lock is the address space's
        story.event("lock_wait", 555, flags=2, key=77)
        story.event("lock_wait_end", 555, key=77)
    story.event("io_submit", size=2)
    story.dio(0)
    story.bio(0, QEMU)
    story.dio_end(0)
    story.event("lock_wait", flags=2, key=77)
    for _ in range(20):
        story.event("dio_end", 999)
    story.event("lock_wait_end", key=77)
    story.dio(SIZE)
    story.bio(SIZE, QEMU)
    story.event("io_submit_end")
    story.dio_end(SIZE)
    story.end(0)
    story.end(1)
    return story.told()


def test_the_wait_for_a_lock_before_the_file_systems_begin_is_its_time() -> None:
    first, second = locked()
    assert spent(second, Stage.FS) >= 21 * US
    assert second[time_column(Stage.FS, Phase.DOWN)] >= 21 * US
    assert spent(first, Stage.FS) <= 3 * US


def test_a_lock_that_page_faults_wait_for_is_no_file_systems() -> None:
    _, second = locked(of_vcpu=True)
    assert spent(second, Stage.FS) <= 3 * US


def test_time_is_divided_between_data_copies_and_tables() -> None:
    # IO 0: a table's read, then data, with a copy across both ends of the data; IO 1: tables only, twice at once
    io, purpose = np.array([1, 0, 0, 0, 1]), np.array([2, 2, 0, 1, 2])
    start, stop = np.array([0, 0, 10, 5, 5]), np.array([10, 10, 20, 30, 20])
    tables, copies = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    _divide(io, start, stop, purpose, tables, copies)
    assert copies.tolist() == [15, 0]
    assert tables.tolist() == [5, 20]


def test_ranges_that_touch_are_one() -> None:
    start, end = _united(np.array([8, 0, 4, 20]), np.array([10, 4, 9, 24]))
    assert (start.tolist(), end.tolist()) == ([0, 20], [10, 24])
