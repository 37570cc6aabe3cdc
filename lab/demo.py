"""`make demo`: boot a small guest, record what its disk does, and report on it."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.disk import Aio, Cache, Disk, DiskStats, make_image
from lab.guest import Guest
from lab.initramfs import REPOSITORY
from lab.load import DEMO_DISK_BYTES, DEMO_LOAD
from lab.targets import takes_direct_io
from vio.errors import ExitCode, HostError, VioError

DEMO = REPOSITORY / "demo"
RECORDING = DEMO / "demo.vio"
PICTURE = DEMO / "timeline.png"
SAMPLE = REPOSITORY / "reporter" / "sample" / "demo.vio"

_VIO = (sys.executable, "-m", "vio")
_ATTACH_LIMIT_S = 40.0
_FINISH_LIMIT_S = 20.0


class Recorder:
    """A `vio record` of one process, from its probes being attached to its orderly end."""

    def __init__(self, pid: int, output: Path) -> None:
        self._command = (*_VIO, "record", "--pid", str(pid), "-o", str(output), "--force")
        self._is_attached = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._echo = threading.Thread(target=self._pass_on_messages, daemon=True)
        self._echo.start()
        try:
            self._wait_until_attached()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def finish(self) -> None:
        """Wait for the recorder to see that its target has ended, and to close the recording."""
        try:
            status = self._process.wait(_FINISH_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise VioError(f"vio record did not end within {_FINISH_LIMIT_S:.0f} s of the guest") from None
        if status:
            raise VioError(f"vio record ended with exit code {status}")

    def _wait_until_attached(self) -> None:
        deadline_s = time.monotonic() + _ATTACH_LIMIT_S
        while not self._is_attached.wait(0.05):
            status = self._process.poll()
            if status is not None:
                kind = HostError if status == ExitCode.HOST else VioError
                raise kind(f"vio record ended with exit code {status} before it recorded")
            if time.monotonic() > deadline_s:
                raise VioError(f"vio record did not attach its probes within {_ATTACH_LIMIT_S:.0f} s")

    def _pass_on_messages(self) -> None:
        """Copy the recorder's messages, unfinished lines too, and watch for the one that counts."""
        pipe = self._process.stderr
        if pipe is None:
            return
        seen = b""
        while chunk := os.read(pipe.fileno(), 4096):
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()
            seen += chunk
            if b"recording" in seen:
                self._is_attached.set()
        pipe.close()

    def _stop(self) -> None:
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(stop)
            try:
                self._process.wait(_FINISH_LIMIT_S / 2)
            except subprocess.TimeoutExpired:
                continue
        self._echo.join(1.0)


def main() -> int:
    """Run the demo; where this machine cannot trace, say why and report on the sample recording."""
    DEMO.mkdir(exist_ok=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        recording = _record() if _can_record() else _sample()
    except HostError as error:
        print(f"demo: {error}", file=sys.stderr)
        recording = _sample()
    except VioError as error:
        print(f"demo: {error}", file=sys.stderr)
        return int(error.exit_code)
    return _report(recording)


def _can_record() -> bool:
    doctor = subprocess.run(
        (*_VIO, "doctor", "--json"), capture_output=True, text=True, check=False, timeout=60
    )
    try:
        can_record = bool(json.loads(doctor.stdout)["can_record"])
    except (ValueError, KeyError):
        raise VioError(f"vio doctor failed: {doctor.stderr.strip()}") from None
    if not can_record:
        print("demo: this machine cannot trace; vio doctor says why:")
        subprocess.run((*_VIO, "doctor"), check=False, timeout=60)
    return can_record


def _record() -> Path:
    with tempfile.TemporaryDirectory(prefix="disk-", dir=DEMO) as folder:
        disk = _disk(Path(folder))
        print("demo: booting a small guest on a qcow2 disk")
        with Guest([disk], DEMO_LOAD, name="demo", wait_for_go=True) as guest:
            print(f"demo: the guest is up after {guest.boot_s:.1f} s; attaching")
            with Recorder(guest.pid, RECORDING) as recorder:
                print("demo: the guest begins its load")
                guest.go()
                stats = guest.wait()
                recorder.finish()
    print(f"demo: the guest itself counted {_described(stats['vda'])}")
    return RECORDING


def _disk(folder: Path) -> Disk:
    image = make_image(folder / "disk.qcow2", DEMO_DISK_BYTES)
    if takes_direct_io(folder):
        return Disk(image)
    return Disk(image, aio=Aio.THREADS, cache=Cache.WRITEBACK)


def _described(stats: DiskStats) -> str:
    return (
        f"{stats.read_ios} reads ({stats.read_bytes:,} bytes), "
        f"{stats.data_write_ios} writes ({stats.write_bytes:,} bytes), "
        f"{stats.discard_ios} discards, {stats.flush_ios} flushes"
    )


def _sample() -> Path:
    print(f"demo: reporting on the recording that comes with vio, {SAMPLE.relative_to(REPOSITORY)}")
    return SAMPLE


def _report(recording: Path) -> int:
    report = (*_VIO, "report", str(recording))
    for command in (report, (*report, "--plot", str(PICTURE))):
        sys.stdout.flush()
        status = subprocess.run(command, check=False, timeout=60).returncode
        if status:
            return status
    print(f"demo: recording {recording.relative_to(REPOSITORY)}, picture {PICTURE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
