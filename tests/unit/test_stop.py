"""Ctrl-C is the normal way to stop: it is noted, and disturbs nothing."""

import os
import select
import signal
import threading
import time

from vio.recorder.generate import BATCH, WORDS
from vio.recorder.stop import StopSignals
from vio.recorder.wire import LineParser

WIDTH = 3 + BATCH * WORDS


def test_a_signal_is_noted_and_wakes_a_poll() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        assert not select.select([stop.fileno()], [], [], 0)[0]
        os.kill(os.getpid(), signal.SIGINT)
        assert select.select([stop.fileno()], [], [], 1)[0]
        assert (stop.count, stop.name) == (1, "SIGINT")
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.count == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_in_the_middle_of_parsing_costs_no_line() -> None:
    # pyarrow cancels what it does when SIGINT comes, unless it is told not to
    parser = LineParser(WIDTH)
    data = (b",".join([b"1234567890123"] * WIDTH) + b"\n") * 3000
    with StopSignals() as stop:
        timers = [threading.Timer(0.02 * at, os.kill, (os.getpid(), signal.SIGINT)) for at in range(1, 10)]
        for timer in timers:
            timer.start()
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert len(parser.parse(data)) == 3000
        for timer in timers:
            timer.join()
        assert stop.count >= 2
