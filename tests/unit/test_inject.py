"""From telling the guest to its interrupt: notifications, MSIs and injections of one VM."""

import numpy as np
from tests.unit.test_runs import moves_of

from vio.reporter.inject import inject_waits
from vio.reporter.moves import INJECT, MSI, NOTIFY, SWITCH

ONE, TWO, VCPU = 20, 21, 30
Row = tuple[int, int, int, int, int]


def notify(at: int, tid: int = ONE) -> Row:
    return at, NOTIFY, tid, 99, 0


def msi(at: int, vector: int, tid: int = ONE) -> Row:
    return at, MSI, tid, 0x4000 + vector, 0


def taken(at: int, vector: int) -> Row:
    return at, INJECT, VCPU, vector, 0


def waits(told: list[tuple[int, int]], *story: Row) -> list[int]:
    at, tid = (np.array(column, np.int64) for column in zip(*told, strict=True))
    return [int(time_ns) for time_ns in inject_waits(moves_of(*story), at, tid)]


def test_by_thread_to_the_vector_and_from_there_to_the_virtual_cpu() -> None:
    story = notify(10), msi(12, 37), notify(13, TWO), msi(14, 38, TWO), taken(20, 38), taken(25, 37)
    assert waits([(10, ONE), (13, TWO)], *story) == [15, 7]


def test_a_guest_that_wants_no_interrupt_gets_none() -> None:
    assert waits([(10, ONE), (15, ONE)], notify(10), notify(15), msi(16, 37), taken(20, 37)) == [-1, 5]


def test_an_interrupt_that_is_pending_is_taken_once_for_all() -> None:
    assert waits([(10, ONE), (15, TWO)], notify(10), msi(11, 37), notify(15, TWO), msi(16, 37, TWO), taken(20, 37)) == [
        10,
        5,
    ]


def test_what_is_not_seen_is_not_known() -> None:
    assert waits([(10, ONE), (11, ONE)], notify(10), msi(12, 37), taken(13, 36)) == [-1, -1]
    assert waits([(-1, 0)], notify(10)) == [-1]
    assert waits([(10, ONE)], (5, SWITCH, 1, 2, 0)) == [-1]
