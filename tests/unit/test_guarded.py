"""What is done in a child, because it may never come back."""

import os
import time
from pathlib import Path

import pytest

from vio.errors import MapError
from vio.recorder.guarded import StuckError, guarded
from vio.recorder.threadstate import thread_states


def test_what_it_finds_comes_back() -> None:
    assert guarded(lambda: {"bytes": bytes(1 << 20)}) == {"bytes": bytes(1 << 20)}


def test_what_it_raises_is_raised_here() -> None:
    def fail() -> None:
        raise MapError("no such table")

    with pytest.raises(MapError, match="no such table"):
        guarded(fail)


def test_one_that_gets_nowhere_is_left_behind() -> None:
    began_s = time.monotonic()
    with pytest.raises(StuckError):
        guarded(lambda: time.sleep(60), stuck_s=0.5)
    assert time.monotonic() - began_s < 10


def test_one_that_works_on_is_waited_for() -> None:
    def work() -> int:
        until_s = time.process_time() + 1.0
        while time.process_time() < until_s:
            pass
        return 7

    assert guarded(work, stuck_s=0.7) == 7


def _open_files() -> list[str]:
    entries = [entry for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return [str(entry.readlink()) for entry in entries]


def test_it_has_the_descriptors_that_it_is_given_and_no_others(tmp_path: Path) -> None:
    given, other = (os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in ("given", "other"))
    try:
        held = guarded(_open_files, (given,))
    finally:
        os.close(given)
        os.close(other)
    assert str(tmp_path / "given") in held
    assert str(tmp_path / "other") not in held


def test_one_that_dies_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="without an answer"):
        guarded(lambda: os._exit(3))


def test_threads_are_shown_with_their_state() -> None:
    mine = thread_states(Path("/proc/self"))
    running = next(one for one in mine if one.tid == os.getpid())
    assert running.state == "R"
    assert thread_states(Path("/proc/4194305")) == ()
