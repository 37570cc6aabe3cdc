"""What goes wrong while recording, for real: one line that says what to do, and nothing lost that was recorded."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.targets import xfs_on_loop_on_tmpfs
from tests.integration.disks import require_root
from tests.integration.test_record import assert_accounted, bench, recorder, running

from vio.errors import ExitCode
from vio.manifest import EndReason, State
from vio.recorder.preparation import Observed
from vio.recorder.procfs import HostRoots
from vio.recorder.record import RecordOptions, record
from vio.recorder.tracefs import find_tracefs
from vio.recording import Recording

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
NOBODY = 65534
BENCH = Path(__file__).parents[1] / "data" / "bench.vio"
TOO_MUCH_KB = 1 << 34


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    require_root("qemu-img", "mkfs.xfs")
    with xfs_on_loop_on_tmpfs() as target:
        path = target.directory / "disk.qcow2"
        run = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", str(path), "64M"]
        subprocess.run(run, check=True, timeout=60)
        yield path


def vio(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vio", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a failure."""
    assert done.stdout == ""
    assert done.stderr.startswith("vio: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def instances_of(pid: int) -> list[Path]:
    tracefs = find_tracefs(HostRoots())
    return [] if tracefs is None else sorted((tracefs / "instances").glob(f"vio-{pid}-*"))


def test_a_refused_trace_buffer_leaves_all_points_to_bpftrace(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "r"
    record(RecordOptions(output=output, command=tuple(bench(image, 500)), trace_kb=TOO_MUCH_KB))
    recording = Recording.open(output)
    assert recording.manifest.state is State.COMPLETE
    assert any("no trace buffer" in note for note in recording.manifest.notes)
    assert "tracepoint:block:block_rq_complete" in (output / "program.bt").read_text()
    points = recording.manifest.counts.by_point
    assert points["laio"] >= 500
    assert points["rq_complete"] > 0
    assert_accounted(recording)
    assert instances_of(os.getpid()) == []


def test_a_killed_recorder_leaves_a_trace_buffer_that_the_next_one_removes(image: Path, tmp_path: Path) -> None:
    with running(bench(image, 10**8)) as target, recorder(tmp_path / "a", "--pid", str(target.pid)) as killed:
        killed.wait_recording()
        assert instances_of(killed.process.pid)
        time.sleep(1.0)
        killed.signal(signal.SIGKILL)
        killed.process.wait(20)
        assert instances_of(killed.process.pid)
        with recorder(tmp_path / "b", "--pid", str(target.pid), "--duration", "1") as following:
            recording = following.finish()
        assert target.poll() is None
    assert instances_of(killed.process.pid) == []
    assert instances_of(following.process.pid) == []
    assert recording.manifest.end.reason is EndReason.DURATION
    assert_accounted(recording)


def test_a_bpftrace_that_refuses_the_program_is_quoted(image: Path, tmp_path: Path) -> None:
    probes = tmp_path / "probes"
    probes.mkdir()
    (probes / "odd.bt").write_text(
        "//: point odd: cannot be compiled\n//: layer qemu-block  role mark\n//: fields key=nothing\n"
        "uprobe:QEMU:blk_aio_preadv\n{\n    emit(0, 0, 0, 0, nonsense(arg0), 0);\n}\n"
    )
    with pytest.raises(Exception, match=r"bpftrace refused the program: .*nonsense.*`vio doctor`") as caught:
        record(RecordOptions(output=tmp_path / "r", command=tuple(bench(image, 1)), observed=Observed(probes)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()
    assert instances_of(os.getpid()) == []


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    # everything is imported before: nobody may not read the interpreter's directory everywhere
    code = "import contextlib, io, os, sys, vio.recorder.progress, vio.recorder.record, vio.reporter.report\n"
    code += "import vio.reporter.machine, vio.reporter.text; from vio.cli import run\n"
    code += "with contextlib.redirect_stdout(io.StringIO()): run(['record', '--help'])\n"
    code += f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_user_that_is_not_root(image: Path) -> None:
    done = as_nobody("record", "-o", "/tmp/vio-not-root.vio", "--", *bench(image, 1))
    assert done.returncode == ExitCode.HOST
    assert said(done).startswith("vio: this host cannot record: root is missing: run vio as root")


def test_a_recording_that_may_not_be_read_or_not_be_written_to(image: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(shutil.copytree(BENCH, Path(folder) / "x.vio"))
        done = as_nobody("report", str(place))
        assert done.returncode == ExitCode.RECORDING
        assert said(done).endswith("manifest.json cannot be read: Permission denied: check its permissions\n")
        Path(folder).chmod(0o755)
        done = as_nobody("report", str(place))
        assert (done.returncode, done.stderr) == (0, "")
        assert "100.0% of 100 IOs" in done.stdout
        assert "not written: " in done.stdout


def test_a_host_without_tracefs(image: Path, tmp_path: Path) -> None:
    hidden = 'while umount -t tracefs,debugfs -a -l && grep -q " tracefs " /proc/self/mounts; do :; done; exec "$@"'
    words = [sys.executable, "-m", "vio", "record", "-o", str(tmp_path / "r"), "--", *bench(image, 1)]
    command = ["unshare", "--mount", "sh", "-c", hidden, "sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.HOST
    assert said(done).startswith("vio: this host cannot record: tracefs is missing: mount -t tracefs")


def test_an_output_on_a_file_system_that_is_read_only(image: Path, tmp_path: Path) -> None:
    place = tmp_path / "ro"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)], check=True, timeout=30)
    try:
        done = vio("record", "-o", str(place / "r"), "--", *bench(image, 1))
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=30)
    assert done.returncode == ExitCode.OUTPUT
    assert f"{place} is not writable: choose another place with -o" in said(done)


def test_a_recording_without_any_io(image: Path, tmp_path: Path) -> None:
    with running(["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=d,filename={image}"]) as target:
        time.sleep(0.5)
        done = vio("record", "-o", str(tmp_path / "r"), "--pid", str(target.pid), "--duration", "1")
        assert done.returncode == 0, done.stderr
        assert target.poll() is None
    assert "; nothing lost; " in done.stdout
    reported = vio("report", str(tmp_path / "r"))
    assert (reported.returncode, reported.stderr) == (0, "")
    assert "no IO was recorded" in reported.stdout


def test_a_command_that_fails_is_recorded_and_its_failure_told(image: Path, tmp_path: Path) -> None:
    words = ["qemu-io", "-f", "qcow2", "-c", "read 0 4k", "-c", "read 1T 4k", str(image)]
    done = vio("record", "-o", str(tmp_path / "r"), "--", *words)
    assert done.returncode == ExitCode.FAILED
    assert "vio: the command ended with exit code 1: what it did until then is recorded\n" in done.stderr
    assert Recording.open(tmp_path / "r").manifest.counts.by_point["bdrv_read"] >= 1


def test_a_command_without_a_disk_that_can_be_followed(tmp_path: Path) -> None:
    done = vio("record", "-o", str(tmp_path / "r"), "--", "qemu-img", "bench", "-c", "1", str(tmp_path / "none"))
    assert done.returncode == ExitCode.TARGET
    assert "pid 0" not in said(done)
    assert "the command qemu-img has no disk that can be followed: " in done.stderr
    assert not (tmp_path / "r").exists()
