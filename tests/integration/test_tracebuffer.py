"""The kernel's trace buffer, read by us, against the kernel's own text of the same buffer, and its counts."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from lab.targets import takes_direct_io, xfs_on_loop_on_tmpfs
from tests.integration import disks

from vio.recorder.generate import Chosen, Scope
from vio.recorder.probe import load_probes
from vio.recorder.procfs import HostRoots
from vio.recorder.rows import Rows, decode, scaling_of
from vio.recorder.scope import kernel_dev
from vio.recorder.tracebuffer import TraceBuffer
from vio.recorder.tracefields import Fields, TraceRule, translate_all
from vio.recorder.tracefs import find_tracefs, tracepoint_fields
from vio.recorder.traceinstance import remove_stale

pytestmark = pytest.mark.live

ROOTS = HostRoots()
PROBES = Path(__file__).parents[2] / "probes"
MIB = 1 << 20
LINE = re.compile(r"^.*-(\d+)\s+\[\d+\] \S+\s+(\d+)\.(\d{6}): (\w+): (.*)$")
WORDED = re.compile(r"^.*-\d+\s+\[\d+\] \S+\s+\d+\.\d{6}: (.*)$")
FIELD = re.compile(r"(\w+)=\(?(0x[0-9a-f]+|[^ ]*)")
POINTER = re.compile(r"(buf): (?:0x)?([0-9a-f]+)")
LOCK_EVENTS = ("contention_begin", "contention_end")
OPS = {"R": 1, "W": 2, "F": 3, "D": 4}
BENCH = ("qemu-img", "bench", "-q", "-f", "raw", "-t", "none")
Line = dict[str, int | str]


@dataclass(frozen=True)
class Place:
    tracefs: Path
    image: Path
    device: str
    scope: Scope

    def chosen(self, layers: Sequence[str]) -> list[Chosen]:
        points = [point for point in load_probes(PROBES) if point.layer in layers]
        ways = [(point, way) for point in points for way in point.ways if way.provider == "tracepoint"]
        there = [(point, way) for point, way in ways if tracepoint_fields(self.tracefs, *way.attach.split(":")[1:])]
        return [Chosen(number, point, way) for number, (point, way) in enumerate(there, 1)]

    def rules(self, *layers: str) -> list[TraceRule]:
        return translate_all(self.chosen(layers), self.scope, self._fields)[0]

    def file_rules(self) -> list[TraceRule]:
        """Return the rules of the file system's events that tell which file they are about, whoever writes them."""
        return [rule for rule in self.rules("fs") if not rule.is_of_threads]

    def _fields(self, system: str, event: str) -> Fields:
        return tracepoint_fields(self.tracefs, system, event)

    def statistics(self) -> list[int]:
        return [int(word) for word in Path(f"/sys/block/{self.device}/stat").read_text().split()]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    disks.require_root("qemu-img", "mkfs.xfs")
    tracefs = find_tracefs(ROOTS)
    if tracefs is None or not (tracefs / "instances").is_dir():
        pytest.skip("needs tracefs with instances")
    with xfs_on_loop_on_tmpfs(size_bytes=400 * MIB) as target:
        image = target.directory / "disk.img"
        image.write_bytes(b"x" * (16 * MIB))
        os.sync()
        if not takes_direct_io(target.directory):
            pytest.skip("needs direct IO")
        status = image.stat()
        device = target.devices[0]
        dev = kernel_dev(Path(f"/dev/{device}").stat().st_rdev)
        yield Place(tracefs, image, device, Scope(0, "", (dev,), ((kernel_dev(status.st_dev), status.st_ino),)))


@pytest.fixture(autouse=True)
def nothing_remains(place: Place) -> Iterator[None]:
    yield
    assert instances(place, os.getpid()) == []


@contextlib.contextmanager
def held(command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a shell that waits for a line before it goes on with the command."""
    words = ["sh", "-c", f"read line; {command}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def run_on(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0


def bench(place: Place, *options: str) -> str:
    return " ".join(["exec", *BENCH, *options, str(place.image)])


def instances(place: Place, pid: int) -> list[Path]:
    return sorted((place.tracefs / "instances").glob(f"vio-{pid}-*"))


def table_of(parts: list[Rows], chosen: Sequence[Chosen]) -> list[dict[str, int]]:
    tables = [decode(rows, scaling_of(chosen)) for rows in parts]
    table: pa.Table = pa.concat_tables(tables)
    return list(table.to_pylist())


def lines_of(instance: Path, form: re.Pattern[str], is_by_field: str) -> list[re.Match[str]]:
    (instance / "options" / "fields").write_text(is_by_field)
    return list(filter(None, map(form.match, (instance / "trace").read_text().splitlines())))


def text_of(place: Place) -> list[Line]:
    """Read what the kernel says of our own instances, which keep their events; they record no more."""
    found: list[Line] = []
    for instance in instances(place, os.getpid()):
        (instance / "tracing_on").write_text("0")
        # The one has all fields, but the address of a pointer instead of its value; the other has the value.
        lines = lines_of(instance, LINE, "1")
        for match, other in zip(lines, lines_of(instance, WORDED, "0"), strict=True):
            fields = {name: int(value, 16) if value[:2] == "0x" else value for name, value in FIELD.findall(match[5])}
            pointers = {name: int(value, 16) for name, value in POINTER.findall(other[1])}
            time_us = int(match[2]) * 1000000 + int(match[3])
            found.append({**fields, **pointers, "tid": int(match[1]), "time_us": time_us, "event": match[4]})
    return found


def expected(line: Line) -> dict[str, object]:
    """Say what a row of this event must hold, from the meaning of the points and not from their files."""

    def number(name: str, bits: int = 64) -> int:
        return int(line[name]) & (1 << bits) - 1

    def signed(word: int) -> int:
        return (word ^ 1 << 31) - (1 << 31) & (1 << 64) - 1

    event = str(line["event"])
    row = {"flags": 0, "space": 0, "bytes": 0, "offset": 0, "key": 0}
    if event.startswith("block_"):
        has_address = number("sector") != 2**64 - 1
        row |= {"flags": OPS.get(str(line["rwbs"])[0], 0), "space": number("dev")}
        row |= {"bytes": number("nr_sector") * 512, "offset": number("sector") * 512 if has_address else -1}
        has_error = event in {"block_rq_complete", "block_bio_complete"}
        row["key"] = signed(number("error", 32)) if has_error else 0
    elif event.startswith("iomap_"):
        row |= {"space": number("dev"), "offset": number("pos"), "key": number("ino")}
        is_begin = event.endswith("begin")
        row["bytes"] = number("count" if is_begin else "ret", 32)
        # some of qemu-img's first reads are refused: it tries which alignment is right
        row["flags"] = 0 if is_begin else number("error", 32) >> 31
    elif event == "xfs_file_fsync":
        row |= {"space": number("dev"), "key": number("ino")}
    elif event in {"sys_enter_pwrite64", "sys_enter_pread64"}:
        row |= {"space": number("fd", 32), "bytes": number("count", 32), "offset": number("pos"), "key": number("buf")}
    elif event == "sys_enter_fdatasync":
        row["space"] = number("fd", 32)
    elif event.startswith("sys_exit_"):
        row["key"] = number("ret")
    else:
        raise AssertionError(f"no such event is expected here: {line}")
    return {**row, "event": event, "tid": line["tid"], "time_us": line["time_us"], "aux": 0}


def as_expected(row: dict[str, int], chosen: Sequence[Chosen]) -> dict[str, object]:
    event = chosen[row["point"] - 1].way.symbol
    named = {name: value for name, value in row.items() if name not in {"ts_ns", "point"}}
    return {**named, "event": event, "time_us": (row["ts_ns"] + 500) // 1000}


def in_order(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: [str(row[name]) for name in sorted(row)])


def test_rows_are_what_the_kernel_prints(place: Place) -> None:
    layers = ("vfs", "fs", "block", "device")
    chosen = place.chosen(layers)
    before = place.statistics()
    with (
        held(bench(place, "-w", "-i", "threads", "-c", "300", "-d", "8", "--flush-interval=50")) as process,
        TraceBuffer(place.tracefs, place.rules(*layers), process.pid) as buffer,
    ):
        run_on(process)
        # of the locks' events there are rows only where they begin and end, of io_uring's only those of IO: QEMU's
        # event loop waits by it, too
        without = {"task_newtask", "io_uring_complete", *LOCK_EVENTS}
        lines = [line for line in text_of(place) if line["event"] not in without]
        rows = table_of(buffer.stop(), chosen)
        tally = buffer.tally()
    ours = in_order([row for row in (as_expected(row, chosen) for row in rows) if row["event"] not in LOCK_EVENTS])
    assert ours == in_order([expected(line) for line in lines])
    counts = {name: sum(row["event"] == name for row in ours) for name in {str(row["event"]) for row in ours}}
    assert counts["sys_enter_pwrite64"] == counts["sys_exit_pwrite64"] == 300
    assert counts["iomap_dio_complete"] == counts["iomap_dio_rw_begin"] >= 300
    assert len({row["tid"] for row in ours if row["event"] == "sys_enter_pwrite64"}) > 1
    assert counts["sys_enter_fdatasync"] == 6
    after = place.statistics()
    writes = [row for row in ours if row["event"] == "block_rq_complete" and row["flags"] == 2]
    assert sum(int(str(row["bytes"])) for row in writes) // 512 == after[6] - before[6]
    assert (tally.lost, tally.rows, tally.in_kernel) == (0, len(rows), len(rows) + tally.foreign)


def test_reading_while_it_records(place: Place) -> None:
    chosen = place.chosen(["fs"])
    with (
        held(bench(place, "-w", "-n", "-c", "5000", "-d", "8")) as process,
        TraceBuffer(place.tracefs, place.file_rules(), process.pid) as buffer,
    ):
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        parts: list[Rows] = []
        while process.poll() is None:
            parts += buffer.read()
            time.sleep(0.001)
        parts += buffer.stop()
        tally = buffer.tally()
    rows = table_of(parts, chosen)
    events = [chosen[row["point"] - 1].way.symbol for row in rows]
    # qemu-img reads some itself
    assert events.count("iomap_dio_complete") == events.count("iomap_dio_rw_begin") >= 5000
    assert tally.in_kernel == tally.rows == len(rows)
    assert buffer.losses() == []


def test_requests_of_other_rings_are_left_out(place: Place) -> None:
    rules = [rule for rule in place.rules("vfs") if rule.system == "io_uring"]
    chosen = place.chosen(["vfs"])
    with (
        held(bench(place, "-i", "io_uring", "-c", "200", "-d", "4")) as process,
        TraceBuffer(place.tracefs, rules, process.pid) as buffer,
    ):
        subprocess.run([*BENCH, "-i", "io_uring", "-c", "100", place.image], check=True, timeout=60)
        run_on(process)
        rows = table_of(buffer.stop(), chosen)
    events = [chosen[row["point"] - 1].way.symbol for row in rows]
    assert events.count("io_uring_complete") == len(rows) / 2 >= 200
    submitted = sorted(row["key"] for row in rows if "submit" in chosen[row["point"] - 1].way.symbol)
    assert submitted == sorted(row["key"] for row in rows if "complete" in chosen[row["point"] - 1].way.symbol)


def test_child_processes_are_not_the_target(place: Place) -> None:
    command = bench(place, "-w", "-i", "threads", "-c", "100").removeprefix("exec ")
    with (
        held(f"{command}; true") as process,
        TraceBuffer(place.tracefs, place.rules("vfs"), process.pid) as buffer,
    ):
        run_on(process)
        rows = table_of(buffer.stop(), place.chosen(["vfs"]))
        tally = buffer.tally()
    assert {row["tid"] for row in rows} <= {process.pid}
    assert tally.foreign > 200
    assert tally.in_kernel == tally.rows + tally.foreign


def switches(rows: list[dict[str, int]], chosen: Sequence[Chosen]) -> dict[int, str]:
    """Give what each thread did, in order: r it runs, l it is left."""
    story: dict[int, str] = {}
    for row in sorted(rows, key=lambda row: row["ts_ns"]):
        if chosen[row["point"] - 1].point.name == "sched_switch":
            for tid, letter in ((row["space"], "l"), (row["key"], "r")):
                story[tid] = story.get(tid, "") + letter
    story.pop(0, None)
    return story


def test_the_scheduler_tells_of_all_threads_of_the_target(place: Place) -> None:
    layers = ("vfs", "qemu-aio")
    chosen = place.chosen(layers)
    with (
        held(bench(place, "-w", "-i", "threads", "-c", "1000", "-d", "4")) as process,
        TraceBuffer(place.tracefs, place.rules(*layers), process.pid) as buffer,
    ):
        run_on(process)
        rows = table_of(buffer.stop(), chosen)
        tally, workers = buffer.tally(), dict(buffer.workers)
    named = [(row, chosen[row["point"] - 1].point.name) for row in rows]
    working = {row["tid"] for row, name in named if name == "pwrite64"}
    woken = {row["key"] for row, name in named if name == "sched_waking"}
    told = switches(rows, chosen)
    # of a worker the kernel tells half before it is followed: its switches from and to a thread of the target
    story = {tid: letters for tid, letters in told.items() if tid not in workers}
    assert len(working) > 1
    assert working <= woken <= told.keys()
    # The kernel itself, in its own text too, has no event for some switches from idle to a thread that is followed.
    assert not any("rr" in letters for letters in story.values())
    assert sum(letters.count("ll") for letters in story.values()) < 0.1 * sum(map(len, story.values()))
    assert tally.lost == 0
    assert tally.in_kernel == tally.rows + tally.foreign


def test_the_kernels_workers_are_followed_once_they_have_carried_io(place: Place) -> None:
    layers = ("qemu-aio", "block", "device")
    command = [*BENCH, "-w", "-n", "-c", "200", "-d", "4", "--flush-interval=4", str(place.image)]
    with TraceBuffer(place.tracefs, place.rules(*layers), os.getpid()) as buffer:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        buffer.read()
        workers = dict(buffer.workers)
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        rows = table_of(buffer.stop(), place.chosen(layers))
        tally = buffer.tally()
    story = switches(rows, place.chosen(layers))
    assert workers
    assert workers.keys() & story.keys()
    assert story.keys() <= buffer.workers.keys() | {os.getpid()}
    assert tally.in_kernel == tally.rows + tally.foreign


def test_threads_that_are_left_out_are_not_followed(place: Place) -> None:
    command = bench(place, "-w", "-i", "threads", "-c", "100").removeprefix("exec ")
    with (
        held(f"{command}; true") as process,
        TraceBuffer(place.tracefs, place.rules("qemu-aio"), process.pid, left_out=frozenset({process.pid})) as buffer,
    ):
        run_on(process)
        assert table_of(buffer.stop(), place.chosen(["qemu-aio"])) == []


def test_what_is_lost_is_counted(place: Place) -> None:
    chosen = place.chosen(["vfs", "fs"])
    rules = place.rules("vfs", "fs")
    with (
        held(bench(place, "-w", "-i", "threads", "-c", "2000", "-d", "8")) as process,
        TraceBuffer(place.tracefs, rules, process.pid) as witness,
        TraceBuffer(place.tracefs, rules, process.pid, buffer_kb=4) as buffer,
    ):
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        run_on(process)
        rows = table_of(buffer.stop(), chosen)
        tally, losses = buffer.tally(), buffer.losses()
        witness.stop()
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert witness.losses() == []
    assert tally.lost > 1000
    assert tally.rows == len(rows) > 0
    assert tally.rows + tally.foreign + tally.lost == tally.in_kernel
    assert {loss.kind for loss in losses} == {"buffer"}
    assert all(loss.where.startswith("trace buffer cpu") for loss in losses)
    assert all(loss.from_ns <= before_ns < loss.to_ns <= after_ns for loss in losses)


def test_the_kernels_count_does_not_depend_on_the_buffer(place: Place) -> None:
    rules = place.file_rules()
    with (
        held(bench(place, "-w", "-n", "-c", "2000", "-d", "8")) as process,
        TraceBuffer(place.tracefs, rules, process.pid) as witness,
        TraceBuffer(place.tracefs, rules, process.pid, buffer_kb=4) as buffer,
    ):
        run_on(process)
        buffer.stop()
        witness.stop()
        counts, small = witness.tally(), buffer.tally()
    assert counts.lost == 0
    assert small.lost > 1000
    assert small.in_kernel == counts.in_kernel >= 4000


def test_an_instance_of_a_killed_process_is_removed(place: Place) -> None:
    code = (
        "import sys, time; from pathlib import Path; from vio.recorder.traceinstance import TraceInstance; "
        "TraceInstance(Path(sys.argv[1]), 64); print('made', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(place.tracefs)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        name = f"vio-{process.pid}-0"
        assert name not in remove_stale(place.tracefs, ROOTS)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    assert len(instances(place, process.pid)) == 1
    assert name in remove_stale(place.tracefs, ROOTS)
    assert instances(place, process.pid) == []


def test_a_filter_that_is_refused_leaves_nothing_behind(place: Place) -> None:
    wrong = [replace(rule, filter="nonsense == 1") for rule in place.rules("fs")]
    with pytest.raises(Exception, match="filter does not take 'nonsense == 1'"):
        TraceBuffer(place.tracefs, wrong, os.getpid()).__enter__()


def test_an_instance_that_somebody_holds_is_switched_off(place: Place) -> None:
    with TraceBuffer(place.tracefs, place.file_rules(), os.getpid()):
        (instance,) = instances(place, os.getpid())
        holder = (instance / "trace_pipe").open("rb")
    try:
        assert (instance / "tracing_on").read_text() == "0\n"
        assert (instance / "events" / "enable").read_text() == "0\n"
    finally:
        holder.close()
        instance.rmdir()


def test_an_event_that_is_not_there_leaves_nothing_behind(place: Place) -> None:
    wrong = [replace(rule, event="nonsense") for rule in place.rules("fs")]
    with pytest.raises(Exception, match=r"no tracepoint .*:nonsense"):
        TraceBuffer(place.tracefs, wrong, os.getpid()).__enter__()


def test_a_process_that_does_not_exist(place: Place) -> None:
    with pytest.raises(Exception, match="there is no process 4194303"):
        TraceBuffer(place.tracefs, place.rules("vfs"), 4194303).__enter__()
