"""`vio shell` as somebody types it: on a terminal of its own."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab.demo import SAMPLE

_PATIENCE_S = 60


class Typist:
    """A person at a terminal: types, and waits for what appears."""

    def __init__(self, recording: Path, state: Path) -> None:
        self._near, far = pty.openpty()
        environment = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "dumb", "COLUMNS": "80"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vio", "shell", str(recording)],
            stdin=far,
            stdout=far,
            stderr=far,
            env=environment,
            start_new_session=True,
        )
        os.close(far)
        self._seen = ""

    def type(self, keys: str) -> None:
        os.write(self._near, keys.encode())

    def see(self, text: str) -> str:
        """Wait for a text; return what was shown up to it."""
        end_s = time.monotonic() + _PATIENCE_S
        while text not in self._seen:
            assert time.monotonic() < end_s, f"{text!r} did not come: {self._seen!r}"
            if select.select([self._near], [], [], 0.2)[0]:
                self._seen += os.read(self._near, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def interrupt(self) -> None:
        """Send what Ctrl-C sends until there is a new prompt: readline may sleep through one that comes too early."""
        end_s = time.monotonic() + _PATIENCE_S
        while "vio> " not in self._seen:
            assert time.monotonic() < end_s, f"no new prompt: {self._seen!r}"
            os.kill(self.process.pid, signal.SIGINT)
            while select.select([self._near], [], [], 0.5)[0]:
                self._seen += os.read(self._near, 4096).decode()

    def leave(self) -> int:
        code = self.process.wait(_PATIENCE_S)
        os.close(self._near)
        return code


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    copy = tmp_path / "demo.vio"
    shutil.copytree(SAMPLE, copy)
    return copy


def test_a_session_at_a_terminal(recording: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    typist = Typist(recording, state)
    try:
        typist.see("vio> ")
        typist.type("select count(*) as c\n")
        typist.see("...> ")
        typist.type("from maps;\n")
        typist.see("\r\n")
        # before the answer there may be progress, where joining takes long
        assert "c" in typist.see("vio> ").split()
        typist.type("selec;\n")
        typist.see("vio: Parser Error")
        typist.see("vio> ")
        typist.type("half a query")
        typist.see("half a query")
        typist.interrupt()
        typist.type("\x04")
        assert typist.leave() == 0
    finally:
        if typist.process.poll() is None:
            typist.process.kill()
            typist.process.wait()
    assert "from maps;" in (state / "vio" / "history").read_text()


def test_the_history_comes_back(recording: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for keys, answer in (("select 40 + 2 as x;\n", "42"), ("\x10\n", "42")):  # Ctrl-P: the line before
        typist = Typist(recording, state)
        try:
            typist.see("vio> ")
            typist.type(keys)
            typist.see(answer)
            typist.see("vio> ")
            typist.type("\x04")
            assert typist.leave() == 0
        finally:
            if typist.process.poll() is None:
                typist.process.kill()
                typist.process.wait()
