"""What the run shows of a disk's map, put in order of time: against a model that knows each byte's place."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.mappers.timed import FOREVER_NS
from vio.reporter.followed import FollowedRanges
from vio.reporter.sightings import GONE, KnownShifts, PastRanges, Ranges

Ints = npt.NDArray[np.int64]
SIZE, UNIT, START_NS = 48, 4, 1000
Sighting = tuple[int, int, int, int, int]
"""Start, end, shift, from when, until when."""


def known(shifts: list[int]) -> KnownShifts:
    """A map that says of each unit how far away it is."""
    rows = [number for number, shift in enumerate(shifts) if shift != GONE]
    start = np.array(rows, dtype=np.int64) * UNIT
    return KnownShifts(start, start + UNIT, np.array([shifts[row] for row in rows], dtype=np.int64))


def seen(*rows: Sighting) -> Ranges:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return Ranges.of(*columns)


def add_news(followed: FollowedRanges, rows: Ranges) -> PastRanges:
    """Add what says something new, and all that is gone."""
    placed, gone = rows.take(rows.shift != GONE), rows.take(rows.shift == GONE)
    return followed.add(Ranges.joined([placed.take(followed.news(placed, gone)), gone]))


def told(past: PastRanges, at_ns: int, base: list[int]) -> list[int]:
    """What holds at a time of each byte: the row that is valid then, else the map; rows must not overlap."""
    shifts = np.repeat(np.array(base, dtype=np.int64), UNIT)
    is_said = np.zeros(SIZE, dtype=np.bool_)
    for start, end, shift, since, to in zip(past.start, past.end, past.shift, past.from_ns, past.to_ns, strict=True):
        if since <= at_ns < to:
            assert not is_said[start:end].any()
            is_said[start:end] = True
            shifts[start:end] = shift
    return [int(shift) for shift in shifts]


@dataclass
class Serial:
    """An image of which one thing is done after the other: where each unit lies at each time is known."""

    base: list[int]
    places: list[tuple[int, list[int]]] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    now_ns: int = START_NS
    flushed: list[int] = field(default_factory=list)

    def place_at(self, at_ns: int) -> list[int]:
        return next((places for since, places in reversed(self.places) if since <= at_ns), self.base)

    def act(self, what: str, first: int, count: int, target: int) -> None:
        units = list(self.place_at(self.now_ns))
        end = min(first + count, len(units))
        self.now_ns += 10
        if what == "write":  # allocates what has no place, and is seen piece by piece
            for unit in range(first, end):
                units[unit] = (target + unit) * 64 if units[unit] == GONE else units[unit]
        elif what == "move":  # a write after a snapshot
            units[first:end] = [(target + unit) * 64 + 1 for unit in range(first, end)]
        elif what == "discard":
            units[first:end] = [GONE] * (end - first)
            self.sightings.append((first * UNIT, end * UNIT, GONE, self.now_ns, self.now_ns + 3))
        if what in ("write", "move", "read"):
            self.sightings += [
                (unit * UNIT, (unit + 1) * UNIT, units[unit], self.now_ns, self.now_ns + 3)
                for unit in range(first, end)
                if units[unit] != GONE
            ]
        since = self.now_ns if what == "discard" else self.now_ns + 3
        self.places.append((since, units))
        self.now_ns += 5
        if what == "flush":
            self.flushed = units


BASES = st.lists(st.sampled_from([GONE, 0, 640]), min_size=SIZE // UNIT, max_size=SIZE // UNIT)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["write", "read", "discard", "move", "flush"]),
        st.integers(0, SIZE // UNIT - 1),
        st.integers(1, 4),
        st.integers(100, 104),
    ),
    max_size=12,
)


def split(rows: list[Sighting], cuts: list[int]) -> list[list[Sighting]]:
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    return [rows[one:two] for one, two in pairwise(edges)]


@given(BASES, ACTS, st.lists(st.integers(0, 100), max_size=4))
def test_of_what_is_done_in_order_nothing_is_told_wrong(
    base: list[int], acts: list[tuple[str, int, int, int]], cuts: list[int]
) -> None:
    image = Serial(base, flushed=base)
    for act in acts:
        image.act(*act)
    followed = FollowedRanges(known(base))
    parts = [followed.add(seen(*rows)) for rows in split(image.sightings, cuts)]
    stop_ns = image.now_ns
    past = PastRanges.joined([*parts, followed.finish(known(image.flushed), stop_ns)])
    last = {unit: image.place_at(stop_ns)[unit] for unit in range(len(base))}
    for at_ns in range(START_NS, stop_ns, 3):
        for byte, shift in enumerate(told(past, at_ns, base)):
            assert shift in (GONE, image.place_at(at_ns)[byte // UNIT])
    for byte, shift in enumerate(told(past, stop_ns + 9, image.flushed)):
        assert shift in (GONE, last[byte // UNIT])
        if shift == GONE and last[byte // UNIT] != GONE:
            assert followed.disputed_bytes  # a flush between, and a third place: it is not known which is the later


@st.composite
def any_sightings(draw: st.DrawFn) -> list[Sighting]:
    rows = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, SIZE - 1))
        end = draw(st.integers(start + 1, SIZE))
        begin = draw(st.integers(START_NS, START_NS + 40))
        until = draw(st.integers(begin, begin + 8))
        rows.append((start, end, draw(st.sampled_from([GONE, 0, 640, 777])), begin, until))
    return sorted(
        rows, key=lambda row: (row[4], row[2] == GONE, row[3])
    )  # as they come: of one instant, what is gone last


@given(BASES, any_sightings(), st.lists(st.integers(0, 100), max_size=3), st.integers(1, 40))
def test_where_the_windows_end_does_not_matter(
    base: list[int], rows: list[Sighting], cuts: list[int], pieces: int
) -> None:
    whole = FollowedRanges(known(base))
    one = PastRanges.joined([whole.add(seen(*rows)), whole.finish(known(base), FOREVER_NS)])
    # those of one instant come together: their order among each other decides nothing
    ends = [number for number in range(1, len(rows)) if rows[number][4] > rows[number - 1][4]]
    cuts = [ends[cut % len(ends)] for cut in cuts] if ends else []
    cut = FollowedRanges(known(base), pieces=pieces)
    parts = [add_news(cut, seen(*some)) for some in split(rows, cuts)]
    two = PastRanges.joined([*parts, cut.finish(known(base), FOREVER_NS)])
    for at_ns in range(START_NS, START_NS + 60):
        assert told(one, at_ns, base) == told(two, at_ns, base)
    assert whole.disputed_bytes == cut.disputed_bytes


def test_a_new_cluster_holds_from_the_end_of_its_write_until_a_discard() -> None:
    followed = FollowedRanges(known([GONE] * 12))
    assert not len(followed.add(seen((8, 16, 640, 1000, 1010))))
    past = followed.add(seen((12, 16, GONE, 1020, 1030)))
    rest = followed.finish(known([GONE] * 12), 2000)
    rows = [
        tuple(int(v) for v in row)
        for row in zip(past.start, past.end, past.shift, past.from_ns, past.to_ns, strict=True)
    ]
    assert rows == [(12, 16, 640, 1010, 1020)]
    assert [(int(rest.start[0]), int(rest.end[0]), int(rest.from_ns[0]), int(rest.to_ns[0]))] == [
        (8, 12, 1010, FOREVER_NS)
    ]


def test_a_map_that_says_the_same_takes_over() -> None:
    followed = FollowedRanges(known([GONE] * 12))
    followed.add(seen((8, 12, 640, 1000, 1010)))
    flushed = [GONE] * 12
    flushed[2] = 640
    rest = followed.finish(known(flushed), 2000)
    assert (rest.from_ns.tolist(), rest.to_ns.tolist()) == ([1010], [2000])


def test_what_cannot_be_put_in_order_is_left_out_until_it_is_seen_again() -> None:
    followed = FollowedRanges(known([GONE] * 12))
    followed.add(seen((0, 4, 640, 1000, 1010), (0, 4, 777, 1005, 1020)))
    assert followed.disputed_bytes == 4
    past = followed.add(seen((0, 4, 777, 1030, 1040)))
    rest = followed.finish(known([GONE] * 12), 2000)
    assert not len(past)  # no place there before either: nothing to take away
    assert (rest.shift.tolist(), rest.from_ns.tolist()) == ([777], [1040])


def test_a_third_place_in_the_last_map_is_disputed() -> None:
    followed = FollowedRanges(known([0] * 12))
    followed.add(seen((0, 4, 640, 1000, 1010)))
    rest = followed.finish(known([777] * 12), 2000)
    assert (rest.shift.tolist(), rest.from_ns.tolist()) == ([640, GONE], [1010, 2000])
    assert rest.to_ns.tolist() == [2000, FOREVER_NS]
    assert followed.disputed_bytes == 4


def test_too_many_ranges_are_let_go_and_counted() -> None:
    followed = FollowedRanges(known([GONE] * 12), most=4)
    past = followed.add(seen(*((4 * n, 4 * n + 4, 640 + n, 1000 + n, 1001 + n) for n in range(6))))
    assert followed.forgotten_bytes == 16
    assert past.start.tolist() == [0, 4, 8, 12]
    assert len(followed.finish(known([GONE] * 12), 2000)) == 2


@pytest.mark.parametrize("row", [(-4, 4, 0, 1, 2), (4, 4, 0, 1, 2), (0, 1 << 62, 0, 1, 2), (8, 16, -9, 1, 2)])
def test_what_cannot_be_an_address_is_left_out(row: Sighting) -> None:
    assert not len(seen(row))
