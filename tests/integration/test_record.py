"""Real recordings of real IO: ended in every way there is, and never a record unaccounted for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lab.targets import xfs_on_loop

from vio.losses import LossKind
from vio.manifest import EndReason, State
from vio.recording import Recording

RUNNER = Path(__file__).parent / "recorder_run.py"
BPFTRACE_END_S = 20.0
IMAGE_BYTES = 256 << 20
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    with xfs_on_loop(IMAGE_BYTES * 4) as target:
        path = target.directory / "disk.qcow2"
        size = str(IMAGE_BYTES)
        run = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", str(path), size]
        subprocess.run(run, check=True, timeout=60)
        yield path


def bench(image: Path, count: int, *more: str) -> list[str]:
    where = ["-f", "qcow2", "-t", "none", "-n", "-w", "-S", "69632", *more, str(image)]
    return ["qemu-img", "bench", "-c", str(count), "-d", "16", *where]


@contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


class Recorder:
    """A recorder in a process of its own."""

    def __init__(self, output: Path, *words: str) -> None:
        self.output = output
        command = [sys.executable, str(RUNNER), str(output), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.said: list[str] = []

    def wait_recording(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if "recording" in line:
                return
        raise AssertionError("".join(self.said))

    def finish(self, timeout_s: float = 60) -> Recording:
        assert self.process.stderr is not None
        self.said.append(self.process.stderr.read())
        status = self.process.wait(timeout_s)
        assert status != 1, "".join(self.said)
        return Recording.open(self.output)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextmanager
def recorder(output: Path, *words: str) -> Iterator[Recorder]:
    made = Recorder(output, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        if made.process.stderr:
            made.process.stderr.close()


def rows_of(recording: Recording) -> int:
    return sum(table.num_rows for table in recording.tables(["ts_ns"]))


def assert_accounted(recording: Recording) -> None:
    counts = recording.manifest.counts
    lost = sum(loss.records for loss in recording.read_losses() if loss.kind in {LossKind.BUFFER, LossKind.OVERFLOW})
    assert counts.in_kernel == counts.rows + lost
    assert counts.unaccounted == 0
    assert rows_of(recording) == counts.rows == sum(counts.by_point.values())


def test_a_command_is_recorded_from_its_first_io_to_its_end(image: Path, tmp_path: Path) -> None:
    count = 5000
    with recorder(tmp_path / "r", "--", *bench(image, count)) as tracer:
        recording = tracer.finish(120)
    manifest = recording.manifest
    assert (tracer.process.returncode, manifest.state) == (0, State.COMPLETE), tracer.said
    assert (manifest.end.reason, manifest.end.exit_code) == (EndReason.COMMAND_ENDED, 0)
    assert_accounted(recording)
    points = manifest.counts.by_point
    missed = {loss.where: loss.records for loss in recording.read_losses() if loss.kind == LossKind.MISSED}
    assert points["laio"] >= count
    # two levels: at the guest's address, and in the file
    assert points["bdrv_write"] >= 2 * count
    assert points["dio_end"] + missed.get("dio_end", 0) >= count
    assert manifest.devices[0].kind == "loop"
    assert len(manifest.files) == 2
    assert manifest.target.disks[0].fds
    times = np.concatenate([table["ts_ns"].to_numpy() for table in recording.tables(["ts_ns"])])
    assert np.all(np.diff(times) >= 0)
    assert times[0] > manifest.clock.start.boottime_ns
    maps = recording.read_maps()
    assert maps is not None
    assert maps.num_rows
    assert not (recording.path / "pending.parquet").exists()


def test_a_recorder_that_is_killed_leaves_a_readable_recording(image: Path, tmp_path: Path) -> None:
    with running(bench(image, 10**8)) as target, recorder(tmp_path / "r", "--pid", str(target.pid)) as tracer:
        tracer.wait_recording()
        time.sleep(5.5)
        tracer.signal(signal.SIGKILL)
        recording = tracer.finish()
        deadline = time.monotonic() + BPFTRACE_END_S
        while (left := _children_named("bpftrace", tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert target.poll() is None
    assert left == []
    assert not recording.is_ended
    assert recording.segments()
    assert recording.read_losses() == []
    last_ns = recording.segments()[-1].last_ns
    assert (last_ns - recording.manifest.clock.start.boottime_ns) / 1e9 > 1.5
    assert rows_of(recording) >= recording.rows > 1000


def test_what_a_stalled_reader_loses_is_counted_to_the_record(image: Path, tmp_path: Path) -> None:
    with running(bench(image, 10**8)) as target:
        with recorder(tmp_path / "r", "--pid", str(target.pid), "--pages", "256") as tracer:
            tracer.wait_recording()
            time.sleep(1.0)
            stalled_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            tracer.signal(signal.SIGSTOP)
            time.sleep(5.0)
            tracer.signal(signal.SIGCONT)
            resumed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            time.sleep(1.0)
            tracer.signal(signal.SIGINT)
            recording = tracer.finish()
        assert target.poll() is None
    assert recording.manifest.state is State.COMPLETE
    assert_accounted(recording)
    lost = [loss for loss in recording.read_losses() if loss.kind in (LossKind.BUFFER, LossKind.OVERFLOW)]
    assert sum(loss.records for loss in lost) > 1000
    # So small a buffer may overflow at other times too, where the machine has other work.
    during = [loss for loss in lost if loss.to_ns > stalled_ns and loss.from_ns < resumed_ns + 10**9]
    assert sum(loss.records for loss in during) > 0.5 * sum(loss.records for loss in lost)


def test_ctrl_c_and_the_end_of_the_target_close_the_recording(image: Path, tmp_path: Path) -> None:
    with running(bench(image, 10**8)) as target:
        with recorder(tmp_path / "a", "--pid", str(target.pid)) as tracer:
            tracer.wait_recording()
            time.sleep(1.0)
            tracer.signal(signal.SIGINT)
            stopped = tracer.finish()
        assert (tracer.process.returncode, target.poll()) == (0, None), tracer.said
        with recorder(tmp_path / "b", "--pid", str(target.pid)) as tracer:
            tracer.wait_recording()
            time.sleep(1.0)
            target.kill()
            gone = tracer.finish()
    assert stopped.manifest.end.reason is EndReason.STOPPED
    assert gone.manifest.end.reason is EndReason.TARGET_ENDED
    for recording in (stopped, gone):
        assert recording.manifest.state is State.COMPLETE
        assert_accounted(recording)


def test_the_end_of_bpftrace_is_told_and_costs_only_the_end(image: Path, tmp_path: Path) -> None:
    with running(bench(image, 10**8)) as target, recorder(tmp_path / "r", "--pid", str(target.pid)) as tracer:
        tracer.wait_recording()
        time.sleep(3.0)
        for pid in _children_named("bpftrace", tmp_path):
            os.kill(pid, signal.SIGKILL)
        recording = tracer.finish()
    assert recording.manifest.state is State.CUT
    assert recording.manifest.end.reason is EndReason.BPFTRACE_ENDED
    assert recording.manifest.counts.in_kernel is None
    assert rows_of(recording) > 1000


def test_a_full_disk_ends_the_recording_and_keeps_what_was_written(image: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True, timeout=30)
    try:
        with running(bench(image, 10**8)) as target:
            with recorder(small / "r", "--pid", str(target.pid)) as tracer:
                tracer.wait_recording()
                recording = tracer.finish(120)
            assert target.poll() is None
        assert tracer.process.returncode == 6
        assert "No space left" in tracer.said[-1]
        assert recording.manifest.end.reason is EndReason.OUTPUT_FAILED
        assert recording.manifest.state is State.CUT
        assert rows_of(recording) == recording.manifest.counts.rows
        assert recording.manifest.counts.unaccounted == 0
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=30)


def test_an_output_in_the_way_is_refused_before_anything_is_traced(image: Path, tmp_path: Path) -> None:
    (tmp_path / "r").write_text("a thesis")
    with recorder(tmp_path / "r", "--", *bench(image, 1)) as tracer:
        tracer.process.wait(30)
    assert tracer.process.returncode == 6
    assert (tmp_path / "r").read_text() == "a thesis"


def _children_named(name: str, marker: Path) -> list[int]:
    """Find the processes of this name that have the test's own directory on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(name.encode()) and any(str(marker).encode() in word for word in words):
                found.append(int(entry.name))
    return found
