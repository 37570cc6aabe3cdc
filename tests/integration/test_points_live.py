"""Points of one's own for real: a probe file, tracepoints and functions by name, and return probes under load."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.targets import xfs_on_loop

from vio.errors import ExitCode
from vio.manifest import State
from vio.recorder.returns import MAY_BE_RETURN_PROBED
from vio.recording import Recording
from vio.reporter.report import ReportOptions, report

EXAMPLES = Path(__file__).parents[2] / "examples" / "probes"
# What `qemu-img bench` comes by; the others are a system emulator's.
IN_BENCH = MAY_BE_RETURN_PROBED - {"virtqueue_pop"}
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    with xfs_on_loop() as target:
        path = target.directory / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "256M"], check=True, timeout=60)
        yield path


def record(output: Path, image: Path, count: int, *words: str, aio: str = "native") -> subprocess.CompletedProcess[str]:
    load = ["qemu-img", "bench", "-q", "-f", "qcow2", "-t", "none", "-i", aio, *["-n"] * (aio == "native"), "-w"]
    load += ["-c", str(count), "-d", "16", "-S", "69632", "--flush-interval=64", str(image)]
    command = [sys.executable, "-m", "vio", "record", "-o", str(output), *words, "--", *load]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_probe_file_of_ones_own_opens_a_layer(image: Path, tmp_path: Path) -> None:
    done = record(tmp_path / "r", image, 2000, "--probes", str(EXAMPLES), "--point", "tracepoint:xfs:xfs_iomap_alloc")
    assert done.returncode == 0, done.stderr
    recording = Recording.open(tmp_path / "r")
    assert recording.manifest.state is State.COMPLETE
    parts = {point.part: point.layer.value for point in recording.manifest.points if point.part}
    assert parts == {"log_wait": "fs", "mapped": "fs", "xfs_iomap_alloc": "fs"}
    opened = report(tmp_path / "r", ReportOptions(is_table_written=False, with_stages=True))
    assert opened.parts is not None
    for stage in opened.parts.stages:
        inner = sum(one.own.total_ns for one in opened.parts.parts_of(stage).values())
        assert inner + opened.parts.rest[stage].total_ns == opened.summary.stages[stage].total_ns
    counts = {name: one.span_count for (_, name), one in opened.parts.parts.items()}
    assert counts["log_wait"] >= 2000
    assert counts["xfs_iomap_alloc"] + counts["mapped"] >= 2000


@pytest.mark.parametrize("aio", ["native", "threads"])
def test_return_probes_on_what_may_have_them_leave_the_target_alive(image: Path, tmp_path: Path, aio: str) -> None:
    words = [word for name in sorted(IN_BENCH) for word in ("--point", f"uprobe:{name}")]
    done = record(tmp_path / "r", image, 6000, *words, aio=aio)
    assert done.returncode == 0, done.stderr
    recording = Recording.open(tmp_path / "r")
    assert recording.manifest.end.exit_code == 0
    counts = recording.manifest.counts.by_point
    assert counts["at_qcow2_cache_put"] > 1000
    for name in IN_BENCH:
        # a worker thread may be in the call when the target ends
        assert 0 <= counts.get(f"at_{name}", 0) - counts.get(f"at_{name}_end", 0) <= 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--point", "uprobe:qcow2_cache_get"], ExitCode.USAGE, "may yield in a coroutine"),
        (["--point", "kprobe:vfs_raed"], ExitCode.USAGE, "vfs_read"),
        (["--point", "tracepoint:xfs:xfs_ilok"], ExitCode.USAGE, "xfs:xfs_ilock"),
        (["--probes", "/proc/self/fdinfo"], ExitCode.USAGE, "has no probe files"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_attached(
    image: Path, tmp_path: Path, words: list[str], code: ExitCode, said: str
) -> None:
    done = record(tmp_path / "r", image, 1, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_what_bpftrace_refuses_is_shown_where_it_was_written(image: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    head = "//: point odd: cannot be compiled\n//: layer qemu-block  role mark  part odd\n"
    body = "uprobe:QEMU:bdrv_co_flush\n{\n    $a = nonsense(arg0);\n    emit(0, 0, 0, 0, $a, 0);\n}\n"
    (own / "odd.bt").write_text(head + body)
    done = record(tmp_path / "r", image, 1, "--probes", str(own))
    assert done.returncode == ExitCode.HOST
    assert f"that is {own}/odd.bt:5: $a = nonsense(arg0)" in done.stderr
