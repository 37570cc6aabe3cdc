"""Record a lab guest: `record_guest(disks, load, output)` boots it, records what its load does, and counts along."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from lab.disk import Disk, DiskStats, guest_names
from lab.guest import Guest
from lab.load import Load
from vio.errors import ExitCode, HostError, VioError
from vio.recording import MANIFEST

VIO = (sys.executable, "-m", "vio")
_ATTACH_LIMIT_S = 900.0  # on a lab host bpftrace needs minutes where it needs seconds elsewhere
_FINISH_LIMIT_S = 600.0  # and to detach them
_STOP_LIMIT_S = 60.0
_GUEST_LIMIT_S = 1200


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recording, and what the guest and the host's devices counted meanwhile.

    `guest` has the guest's disks (vda ...) in the order of the recording's, `devices` the host's; these were counted in
    [from_ns, to_ns] (CLOCK_BOOTTIME), all of which is in the recording.
    """

    recording: Path
    guest: dict[str, DiskStats]
    devices: dict[str, DiskStats]
    from_ns: int
    to_ns: int


class Recorder:
    """A `vio record` of one process, from its probes being attached to its orderly end.

    Its messages go to `echo`, and are in `said`; with an echo, its last line goes to this process's stdout.
    """

    def __init__(self, pid: int, output: Path, *options: str, echo: BinaryIO | None = None) -> None:
        self._command = (*VIO, "record", "--pid", str(pid), "-o", str(output), "--force", *options)
        self._is_attached = threading.Event()
        self._echo_to = echo
        self._said = b""

    @property
    def said(self) -> str:
        """All messages so far."""
        return self._said.decode(errors="replace")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=None if self._echo_to else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._echo = threading.Thread(target=self._pass_on_messages, daemon=True)
        self._echo.start()
        try:
            self._wait_until_attached()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def finish(self) -> None:
        """Wait for the recorder to see that its target has ended, and to close the recording."""
        try:
            status = self._process.wait(_FINISH_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise VioError(f"vio record did not end within {_FINISH_LIMIT_S:.0f} s of its target") from None
        if status:
            raise VioError(f"vio record ended with exit code {status}: {self.said}")

    def stop(self) -> None:
        """End the recorder as Ctrl-C does, and not so gently if it does not heed that."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                continue
        self._echo.join(1.0)

    def _wait_until_attached(self) -> None:
        deadline_s = time.monotonic() + _ATTACH_LIMIT_S
        while not self._is_attached.wait(0.05):
            status = self._process.poll()
            if status is not None:
                self._echo.join(1.0)
                kind = HostError if status == ExitCode.HOST else VioError
                raise kind(f"vio record ended with exit code {status} before it recorded: {self.said}")
            if time.monotonic() > deadline_s:
                raise VioError(f"vio record did not attach its probes within {_ATTACH_LIMIT_S:.0f} s")

    def _pass_on_messages(self) -> None:
        """Copy the recorder's messages, unfinished lines too, and watch for the one that counts."""
        pipe = self._process.stderr
        if pipe is None:
            return
        while chunk := os.read(pipe.fileno(), 4096):
            if self._echo_to:
                self._echo_to.write(chunk)
                self._echo_to.flush()
            self._said += chunk
            if b"recording" in self._said:
                self._is_attached.set()
        pipe.close()


def record_guest(
    disks: Sequence[Disk],
    load: Load,
    output: Path,
    *,
    devices: Sequence[str] = (),
    name: str = "lab",
    options: Sequence[str] = (),
    echo: BinaryIO | None = None,
    accelerator: str = "tcg",
) -> Outcome:
    """Boot a guest, record its load to the guest's end, and count on `devices` of the host.

    `options` go to `vio record`, whose messages go to `echo`.

    Raises:
        GuestError: the guest did not come up, or its load failed.
        VioError: the recorder failed.
    """
    with (
        Guest(disks, load, name=name, wait_for_go=True, limit_s=_GUEST_LIMIT_S, accelerator=accelerator) as guest,
        Recorder(guest.pid, output, *options, echo=echo) as recorder,
    ):
        from_ns, before = _counted(devices)
        guest.go()
        stats = guest.wait_for_load()
        to_ns, after = _counted(devices)
        guest.wait()
        recorder.finish()
    in_order = {one: stats[one] for one in guest_names(disks)}
    return Outcome(output, in_order, {one: after[one].since(before[one]) for one in after}, from_ns, to_ns)


def _counted(devices: Sequence[str]) -> tuple[int, dict[str, DiskStats]]:
    stats = {name: DiskStats.of_device(name) for name in devices}
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME), stats


def rename_images(recording: Path, directory: Path) -> None:
    """Show the images of a recording to be shipped at /srv/vm: the place that they had was a temporary directory."""
    manifest = recording / MANIFEST
    text = manifest.read_text(encoding="utf-8")
    for name, shown in ((str(directory), "/srv/vm"), (str(directory).removesuffix("-xfs"), "/srv")):
        text = text.replace(name, shown)
    manifest.write_text(text, encoding="utf-8")
