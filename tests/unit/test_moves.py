"""What is taken out of a window's events, and what is left for the join."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vio.reporter.events import Events
from vio.reporter.moves import INJECT, KICK, MSI, NOTIFY, OTHERS, SWITCH, WAKING, split

LEFT, BEGUN, KICKED, TOLD, SENT, TAKEN, BIO = range(1, 8)  # points
KINDS = {LEFT: SWITCH, BEGUN: WAKING, KICKED: KICK, TOLD: NOTIFY, SENT: MSI, TAKEN: INJECT}
NUMBERS = np.full(256, OTHERS, np.uint8)
NUMBERS[list(KINDS)] = list(KINDS.values())


def events(points: list[int]) -> Events:
    """Make events of which every value is another."""
    at = np.arange(len(points))
    return Events(
        ts_ns=at,
        point=np.array(points, np.uint8),
        flags=(1000 + at).astype(np.uint16),
        tid=(2000 + at).astype(np.int32),
        space=(3000 + at).astype(np.uint32),
        bytes=4000 + at,
        offset=5000 + at,
        key=(6000 + at).astype(np.uint64) | np.uint64(7 << 32),
        aux=(8000 + at).astype(np.uint32),
    )


@given(st.lists(st.integers(1, 9), max_size=30))
def test_each_event_goes_where_it_is_read(points: list[int]) -> None:
    rest, moves = split(events(points), NUMBERS)
    told = [(at, point, KINDS[point]) for at, point in enumerate(points) if point in KINDS]
    assert list(zip(*(getattr(moves, name).tolist() for name in moves.__dataclass_fields__), strict=True)) == [
        (at, kind, (3000 if point == LEFT else 2000) + at, 6000 + at, 1000 + at) for at, point, kind in told
    ]
    kept = [at for at, point in enumerate(points) if KINDS.get(point) in (None, KICK, NOTIFY)]
    every = events(points)
    for name in Events.__dataclass_fields__:
        column, expected = getattr(rest, name), getattr(every, name)[kept]
        assert column.dtype == expected.dtype
        assert column.tolist() == expected.tolist()


@given(st.lists(st.integers(1, 9), max_size=30))
def test_threads_are_those_that_are_switched_or_woken(points: list[int]) -> None:
    _, moves = split(events(points), NUMBERS)
    switched = {3000 + at for at, point in enumerate(points) if point == LEFT}
    others = {6000 + at for at, point in enumerate(points) if point in (LEFT, BEGUN)}
    assert moves.threads.tolist() == sorted(switched | others)
