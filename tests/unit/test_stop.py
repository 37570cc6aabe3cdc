"""Ctrl-C is the normal way to stop: it is noted, and disturbs nothing."""

import os
import select
import signal

from vio.recorder.stop import StopSignals


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
