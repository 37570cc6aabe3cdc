"""The kernel's threads that carry IO on are found by the events that they write outside of interrupts."""

from pathlib import Path

import numpy as np
import pytest

from vio.recorder import traceworkers
from vio.recorder.procfs import HostRoots
from vio.recorder.tracepages import Events
from vio.recorder.traceworkers import Workers

QEMU, KBLOCKD, KCRYPTD = 50, 60, 61
USER, KERNEL = 0x00400100, 0x04208060
IN_INTERRUPT, IN_SOFTIRQ = 0x08, 0x10


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    for tid, flags, name in ((QEMU, USER, "qemu) x"), (KBLOCKD, KERNEL, "kworker/0:1H"), (KCRYPTD, KERNEL, "kcryptd")):
        place = tmp_path / str(tid)
        place.mkdir()
        (place / "stat").write_text(f"{tid} ({name}) S 2 0 0 0 -1 {flags} 0 0\n")
        (place / "comm").write_text(f"{name}\n")
    return Workers(HostRoots(proc=tmp_path))


def events_of(*rows: tuple[int, int]) -> Events:
    """Build events of (thread, context)."""
    words = np.array([word for tid, context in rows for word in (7 | context << 16, tid)], "<u4")
    at = np.arange(len(rows), dtype=np.int64)
    return Events(words, at * 2, at)


def test_threads_of_the_kernels_own_are_found_once(workers: Workers) -> None:
    assert workers.note(events_of((QEMU, 0), (KBLOCKD, 0), (0, 0), (KBLOCKD, 1))) == [KBLOCKD]
    assert workers.note(events_of((KCRYPTD, 0), (KBLOCKD, 0))) == [KCRYPTD]
    assert workers.names == {KBLOCKD: "kworker/0:1H", KCRYPTD: "kcryptd"}


def test_whom_an_interrupt_meets_carries_nothing(workers: Workers) -> None:
    assert workers.note(events_of((KBLOCKD, IN_INTERRUPT), (KCRYPTD, IN_SOFTIRQ))) == []


def test_a_thread_that_is_gone_is_nobody(workers: Workers) -> None:
    assert workers.note(events_of((4000, 0))) == []


def test_there_are_no_more_than_can_be_followed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traceworkers, "MOST_WORKERS", 1)
    assert workers.note(events_of((KBLOCKD, 0), (KCRYPTD, 0))) == [KBLOCKD]
    assert list(workers.names) == [KBLOCKD]
