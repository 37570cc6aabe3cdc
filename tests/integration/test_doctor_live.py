"""`vio doctor` on this machine, against what bpftrace itself says of the same points."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.beside]


def doctor(*words: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "vio", "doctor", "--json", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(autouse=True)
def needs() -> None:
    for program in ("qemu-system-x86_64", "qemu-img"):
        if not shutil.which(program):
            pytest.skip(f"{program} is absent (apt install qemu-system-x86 qemu-utils)")


def listed_by_bpftrace(pattern: str) -> set[str]:
    done = subprocess.run(["bpftrace", "-l", pattern], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_this_machine_can_record() -> None:
    code, found = doctor()
    assert (code, found["can_record"], found["fatal"]) == (0, True, [])
    points = found["points"]
    assert isinstance(points, list)
    assert {point["layer"] for point in points if point["is_attachable"]} >= {"qemu-block", "vfs", "block", "device"}


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "qemu-img"])
def test_bpftrace_knows_the_same_points(program: str) -> None:
    binary = str(Path(shutil.which(program) or "").resolve())
    _, found = doctor("--binary", binary)
    points = found["points"]
    assert isinstance(points, list)
    functions = {line.rsplit(":", 1)[1] for line in listed_by_bpftrace(f"uprobe:{binary}:*")}
    events = listed_by_bpftrace("tracepoint:*:*")
    for point in points:
        attach = point["attach"]
        is_known = attach.rsplit(":", 1)[1] in functions if attach.startswith("uprobe:") else attach in events
        assert point["is_attachable"] == is_known, attach


def test_a_running_qemu_is_examined(tmp_path: Path) -> None:
    machine = ("-machine", "none", "-S", "-display", "none", "-nodefaults", "-name", "doctor test")
    process = subprocess.Popen(["qemu-system-x86_64", *machine], cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 10
        while "qemu" not in str(Path(f"/proc/{process.pid}/exe").readlink()) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        code, found = doctor("--vm", "doctor test")
    finally:
        process.kill()
        process.wait()
    qemu = found["qemu"]
    assert isinstance(qemu, dict)
    assert (qemu["pid"], qemu["name"]) == (process.pid, "doctor test")
    # it has no disk: nothing to record in it
    assert code == 3
    assert found["fatal"] == ["a disk: there is nothing to record in doctor test; choose another VM"]
