"""The ways a recording ends from outside: signals, and the end of the process that is recorded."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Within the context, signals that end a program are noted (`count`, `name`) and wake up a poll of `fileno`."""

    def __init__(self) -> None:
        self.count = 0
        self.name = ""
        self._before: dict[signal.Signals, object] = {}
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> Self:
        # only the main thread may set handlers; elsewhere somebody else decides what a signal does
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._wake)
        os.close(self._waker)

    def fileno(self) -> int:
        """Return what becomes readable when a signal has come."""
        return self._wake

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.name = signal.Signals(number).name
        try:
            os.write(self._waker, b"s")
        except BlockingIOError:
            return


def open_process(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends.

    Raises:
        ProcessLookupError: it has ended already.
    """
    return os.pidfd_open(pid)
