"""`vio bench` for real: the shipped scenarios, a load that fails, and a load beside a process that runs already."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import benchguest
from lab.targets import root_directory
from tests.commandline import Vio, vio

from vio.bencher.bench import BenchResult, bench
from vio.bencher.options import BenchOptions
from vio.bencher.witness import Told
from vio.errors import ExitCode

__all__ = ["vio"]
EXAMPLES = Path(__file__).parents[2] / "examples" / "bench"
pytestmark = [pytest.mark.live, pytest.mark.timeout(280)]


@pytest.fixture
def place() -> Iterator[Path]:
    with root_directory() as target:
        yield target.directory


def run(scenario: Path, place: Path, **values: str) -> tuple[BenchResult, list[str]]:
    said: list[str] = []
    options = BenchOptions(scenario, place / "out", {"place": str(place / "image"), **values}, repeats=1)
    return bench(options, said.append), said


def check_agreement(result: BenchResult) -> dict[str, Told]:
    """Check that the load and the recording count the same IOs, and return what the last run's load says."""
    for one in result.journal.runs:
        told, ours = ({one.op: one for one in side} for side in (one.told, one.ours))
        # a guest reads its disk's partition table before the load begins
        assert 0 <= ours["read"].count - told["read"].count <= 8
        # the load is short, and what it says of itself includes its begin and end
        assert 0.2 < (told["read"].iops or 0) / (ours["read"].iops or 1) < 5
    return told


def test_the_scenario_of_cache_modes(place: Path) -> None:
    result, said = run(EXAMPLES / "cache.toml", place, count="1500")
    assert check_agreement(result)["read"].count == 1500
    assert result.comparison is not None
    assert (result.comparison.is_weak, len(result.comparison.cells)) == (True, 1)
    # what follows the last of them: that it is made again, where the hypervisor below disturbed it
    assert [line for line in said if line.startswith("run ")][-1].startswith("run 4 of 4: writeback (b, 1 of 1); ")
    commands = [json.loads((place / f"out/{side}/001.vio/manifest.json").read_text())["target"] for side in "ab"]
    assert [command["disks"][0]["cache"] for command in commands] == ["none", "writeback"]


def test_the_scenario_of_a_guest_with_fio(place: Path) -> None:
    benchguest.build(place / "guest")
    job = "--rw=randread --bs=4k --iodepth=4 --size=64m --io_size=2m --randrepeat=1"
    scenario = place / "guest-fio.toml"
    scenario.write_text((EXAMPLES / scenario.name).read_text().replace("warm-up = 1", "warm-up = 0"))  # a boot each
    result, _ = run(scenario, place, guest=str(place / "guest"), fio=job)
    told = check_agreement(result)["read"]
    assert told.count == 512
    for one in result.journal.runs:
        # what lies above virtio is in fio's latency, and not in ours
        assert (one.told[0].mean_ns or 0) > (one.ours[0].mean_ns or 0) > 0


FAILING = """
[load]
command = ["qemu-img", "bench", "-f", "qcow2", "-c", "{count}", "-t", "none", "{image}"]
[image]
source = "base.raw"
way = "overlay"
[a]
name = "some"
values = { count = "20000" }
[b]
name = "wrong"
values = { count = "-5" }
[bench]
warm-up = 0
settle = "0s"
"""


def test_a_load_that_fails_keeps_what_there_is(place: Path, vio: Vio) -> None:
    scenario = place / "failing.toml"
    scenario.write_text(FAILING)
    (place / "base.raw").write_bytes(b"x" * (16 << 20))
    code, out, err = vio("bench", str(scenario), "-o", str(place / "out"), "--repeats", "1")
    assert (code, out) == (ExitCode.LOAD, "")
    last = err.splitlines()[-1]
    assert last.startswith("vio: run wrong (b, 1 of 1): the load ended with exit code 1: qemu-img: Invalid request")
    assert "; 1 run done and kept; go on with: vio bench" in last
    manifest = json.loads((place / "out/a/001.vio/manifest.json").read_text())
    assert manifest["target_cpu_s"] > 0  # in hundredths of a second, hence the 20,000 reads
    assert manifest["target"]["disks"][0]["format"] == "qcow2"
    info = subprocess.run(
        ["qemu-img", "info", "--output=json", str(place / "out/image/disk.overlay")], capture_output=True, check=True
    )
    assert json.loads(info.stdout)["backing-filename"] == str(place / "base.raw")
    assert len(list((place / "out/failed").glob("b-001-1.vio"))) == 1


BESIDE = """
[load]
vm = "benchd"
command = ["qemu-img", "bench", "-f", "raw", "-c", "800", "-d", "{depth}", "{socket}"]
witness = "stdout"
[values]
socket = ""
[a]
name = "depth 1"
values = { depth = "1" }
[b]
name = "depth 8"
values = { depth = "8" }
[bench]
warm-up = 0
settle = "0s"
"""


def test_a_load_beside_a_process_that_runs_already(place: Path) -> None:
    image, socket = place / "disk.raw", place / "nbd"
    image.write_bytes(b"x" * (16 << 20))  # the server reads no holes
    node = f"driver=raw,node-name=disk,file.driver=file,file.filename={image}"
    server = ["qemu-storage-daemon", "--blockdev", node, "--nbd-server", f"addr.type=unix,addr.path={socket}"]
    server += ["--export", "type=nbd,id=out,node-name=disk,name=disk"]
    scenario = place / "beside.toml"
    with subprocess.Popen(server) as process:
        try:
            scenario.write_text(BESIDE.replace("benchd", server_name(process.pid)))
            options = BenchOptions(scenario, place / "out", {"socket": f"nbd+unix:///disk?socket={socket}"}, repeats=1)
            result = bench(options, lambda _: None)
            assert process.poll() is None
        finally:
            process.terminate()
    assert [run.told[0].count for run in result.journal.runs] == [800, 800]
    assert all(run.ours[0].count >= 800 for run in result.journal.runs)


def server_name(pid: int) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "vio", "list", "--json"], capture_output=True, text=True, timeout=60, check=True
    )
    return next(str(vm["name"]) for vm in json.loads(shown.stdout) if vm["pid"] == pid)
