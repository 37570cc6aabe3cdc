"""A load beside a VM that runs already: it begins when the recording has, and the recording ends with it."""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from vio.errors import TargetError
from vio.printable import printable
from vio.recorder.aim import OUTPUT_FILES
from vio.recorder.progress import NullProgress, Progress, Status

_END_S = 10.0


class LoadBeside(NullProgress):
    """Listens to a recording, so that its load is never under way when the recording is not.

    `exit_code` is known once the load has ended; None if something else ended the recording.
    """

    def __init__(self, words: Sequence[str], files: Path, notes: Progress) -> None:
        self.exit_code: int | None = None
        self._words = tuple(words)
        self._files = files
        self._notes = notes
        self._lock = threading.Lock()
        self._is_over = False
        self._process: subprocess.Popen[bytes] | None = None
        self._streams: list[IO[bytes]] = []

    def note(self, text: str) -> None:
        """Hand it on."""
        self._notes.note(text)

    def status(self, status: Status) -> None:
        """Hand it on."""
        self._notes.status(status)

    def attached(self, what: str) -> None:
        """Begin the load."""
        self._streams = [(self._files / name).open("wb") for name in OUTPUT_FILES]
        out, err = self._streams
        try:
            self._process = subprocess.Popen(self._words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as error:
            shown = printable(self._words[0])
            raise TargetError(f"{shown} cannot be run: {error.strerror}", "give its path") from None
        threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()

    def stopping(self, why: str) -> None:
        """Hear that the recording ends: from now on the end of the load is no reason to end it."""
        with self._lock:
            self._is_over = True

    def close(self) -> None:
        """End a load that runs on."""
        with self._lock:
            self._is_over = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in self._streams:
            stream.close()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._lock:
            if not self._is_over:
                self.exit_code = 128 - status if status < 0 else status
                # what a user does by Ctrl-C: the recorder hears it, and ends as it always does
                os.kill(os.getpid(), signal.SIGINT)
