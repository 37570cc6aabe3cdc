"""`vio top` on real loads: its counts are those of the load, its times those that a recording of the same load has."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lab.disk import Aio, Cache, Disk, make_image
from lab.guest import Guest
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.session import Recorder
from lab.targets import TARGETS

VIO = (sys.executable, "-m", "vio")
IO_COUNT = 30_000
WRITES, FLUSH_EVERY = 600, 50
BOTH_NS = 4000  # at a point both programs run, one after the other: the later one sees a span that is longer or shorter


def frames_of(out: str) -> list[dict[str, Any]]:
    """Read the JSON lines; a load that `vio top` started prints between them."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def ended(frames: list[dict[str, Any]]) -> Counter[tuple[str, str, str, str]]:
    """Count the IOs of all refreshes: by the first disk, layer, part and operation."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for frame in frames:
        for row in frame["layers"]:
            counts[row["disks"][0], row["layer"], row["part"], row["op"]] += row["ios"]
    return counts


def noted(frames: list[dict[str, Any]], words: str) -> int:
    """Sum what the notes with these words count."""
    notes = [note for frame in frames for note in frame["notes"] if words in note]
    return sum(int(note.split()[0].replace(",", "")) for note in notes)


def missed_and_unplaced(frames: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many hits the kernel left out, and how many requests are not in qemu-aio, both as it is said."""
    return noted(frames, "were not run by the kernel"), noted(frames, "not counted in qemu-aio")


def wait_until_attached(top: "subprocess.Popen[str]") -> None:
    """Wait for `vio top` to say so."""
    assert top.stderr
    said = []
    for line in top.stderr:
        said.append(line)
        if line.startswith("vio: watching"):
            return
    pytest.fail("".join(said))


@pytest.mark.live
def test_its_counts_are_those_of_qemu_img(tmp_path: Path) -> None:
    with TARGETS["root"]() as target:
        image = make_image(target.directory / "disk.qcow2", 256 * MIB)
        load = ["qemu-img", "bench", "-w", "-c", str(IO_COUNT), "-d", "16", "-t", "none", "-n", "-f", "qcow2"]
        load += [f"--flush-interval={IO_COUNT // 100}", str(image)]
        done = subprocess.run([*VIO, "top", "--json", "--", *load], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frames = frames_of(done.stdout)
    counts, (missed, unplaced) = ended(frames), missed_and_unplaced(frames)
    lacking = IO_COUNT - counts["disk.qcow2", "qemu-block", "", "write"]
    assert 0 <= lacking <= missed < 0.01 * IO_COUNT
    aio, file = (counts["disk.qcow2", *place, "write"] for place in (("qemu-aio", ""), ("qemu-block", "file")))
    assert 0 <= file - aio <= unplaced + missed < 0.01 * IO_COUNT
    assert counts["disk.qcow2", "qemu-block", "", "flush"] + missed >= 99


@pytest.mark.live
@pytest.mark.timeout(900)  # the first report of a version compiles its loops
def test_its_times_are_those_of_a_recording(tmp_path: Path) -> None:
    with TARGETS["root"]() as target:
        image = make_image(target.directory / "disk.qcow2", 256 * MIB)
        disks = [Disk(image, aio=Aio.NATIVE, cache=Cache.NONE, has_iothread=True)]
        load = Load("one", (fio(FioJob("randrw", WRITES, depth=4, io_bytes=64 * KIB)),))
        with Guest(disks, load, wait_for_go=True) as guest, Recorder(guest.pid, tmp_path / "r.vio") as recorder:
            # an interval longer than the load: what it prints at the end is all there was
            command = [*VIO, "top", "--pid", str(guest.pid), "--json", "--interval", "1h"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
                wait_until_attached(top)
                guest.go()
                guest.wait()
                (frame,) = frames_of(top.communicate(timeout=60)[0])
            recorder.finish()
    for op in ("read", "write"):
        report = [*VIO, "report", str(tmp_path / "r.vio"), "--json", "--op", op]
        latency = json.loads(subprocess.run(report, capture_output=True, check=True).stdout)["latency"]
        (row,) = [one for one in frame["layers"] if (one["layer"], one["op"]) == ("qemu-device", op)]
        assert row["ios"] == latency["count"]
        assert row["mean_ns"] == pytest.approx(latency["mean_ns"], rel=0.05, abs=BOTH_NS)
        assert row["p50_ns"] == pytest.approx(latency["p50_ns"], rel=0.08, abs=BOTH_NS), "a bucket is 1/16 wide"
        assert row["p99_ns"] == pytest.approx(latency["p99_ns"], rel=0.10, abs=BOTH_NS)


@pytest.mark.live
@pytest.mark.parametrize("interval", ["1s", pytest.param("1h", id="longer-than-the-guest")])
def test_a_guest_with_two_disks(interval: str) -> None:
    with TARGETS["root"]() as target:
        images = [make_image(target.directory / name, 256 * MIB) for name in ("a.qcow2", "b.qcow2")]
        disks = [
            Disk(images[0], aio=Aio.NATIVE, cache=Cache.NONE, has_iothread=True),
            Disk(images[1], aio=Aio.THREADS, cache=Cache.WRITEBACK),
        ]
        writes = FioJob("randwrite", WRITES, io_bytes=16 * KIB, flush_every=FLUSH_EVERY, disk="vdb")
        mixed = FioJob("randrw", WRITES, io_bytes=4 * KIB)
        with Guest(disks, Load("two", (fio(mixed, writes),)), wait_for_go=True) as guest:
            command = [*VIO, "top", "--pid", str(guest.pid), "--json", "--interval", interval]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
                wait_until_attached(top)
                guest.go()
                stats = guest.wait()
                out = top.communicate(timeout=60)[0]
    frames = frames_of(out)
    counts, (missed, unplaced), without_place = ended(frames), missed_and_unplaced(frames), 0
    assert top.returncode == 0
    assert missed < 10
    for disk, name in (("virtio0", "vda"), ("virtio1", "vdb")):
        assert 0 <= stats[name].data_write_ios - counts[disk, "qemu-device", "", "write"] <= missed
        assert 0 <= stats[name].read_ios - counts[disk, "qemu-device", "", "read"] <= missed
        assert counts[disk, "qemu-block", "", "write"] == pytest.approx(stats[name].data_write_ios, abs=4)
        aio, file = (counts[disk, layer, part, "write"] for layer, part in (("qemu-aio", ""), ("qemu-block", "file")))
        assert 0 < aio <= file
        without_place += file - aio
    assert without_place <= unplaced + missed, "a note says how many could not be placed (docs/top.md)"
    assert counts["virtio1", "qemu-device", "", "flush"] + missed >= stats["vdb"].flush_ios


@pytest.mark.live
@pytest.mark.parametrize("number", ["INT", "TERM"])
def test_a_signal_ends_it_and_its_probes(number: str) -> None:
    with Guest([], Load("idle", ("sleep 60",))) as guest:
        refused = subprocess.run([*VIO, "top", "--pid", str(guest.pid)], capture_output=True, text=True, check=False)
        assert refused.returncode == 4, "a VM without a disk"
    command = [*VIO, "top", "--by", "file", "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as top:
        wait_until_attached(top)
        children = Path(f"/proc/{top.pid}/task/{top.pid}/children").read_text().split()
        assert children
        subprocess.run(["kill", f"-{number}", str(top.pid)], check=True)
        assert top.wait(30) == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.live
def test_files_by_process(tmp_path: Path) -> None:
    held = tmp_path / "held"
    writer = "import os, sys, time\nfd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\nsys.stdin.readline()\n"
    writer += "for i in range(200):\n    os.pwrite(fd, bytes(8192), i * 8192)\nos.fsync(fd)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", writer, str(held)], stdin=subprocess.PIPE, text=True) as process:
        command = [*VIO, "top", "--by", "file", "--pid", str(process.pid), "--json", "--count", "3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
            wait_until_attached(top)
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
            out = top.communicate(timeout=60)[0]
        process.kill()
    rows = [row for frame in frames_of(out) for row in frame["files"] if row["path"] == str(held)]
    calls = Counter(row["op"] for row in rows for _ in range(row["calls"]))
    assert calls == {"write": 200, "flush": 1}
    assert all(row["mean_wait_ns"] > 0 for row in rows)
