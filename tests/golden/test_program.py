"""The program that is generated for a fixed choice of points: VIO_REGENERATE=1 pytest tests/golden rewrites it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from vio.recorder.bpftrace import BpftraceOptions, environment
from vio.recorder.checkup import PROBES
from vio.recorder.dialect import for_version
from vio.recorder.generate import BATCH, STORED, Chosen, Scope, generate
from vio.recorder.host import find_bpftrace
from vio.recorder.kernelfn import KernelFunctions
from vio.recorder.layout import qemu_layout
from vio.recorder.plan import with_addresses
from vio.recorder.probe import KERNEL_PROVIDERS, Point, load_probes

GOLDEN = Path(__file__).parent
SYMBOLS = {"laio_io_plug", "luring_io_plug", "qcow2_get_host_offset", "qemu_iovec_init_slice"}
SCOPE = Scope(
    pid=4711,
    binary="/usr/bin/qemu-system-x86_64",
    devices=(7 << 20, 254 << 20 | 1),
    files=((7 << 20, 131), (254 << 20 | 1, 4242)),
    constants=qemu_layout(SYMBOLS),
)


def chosen() -> list[Chosen]:
    # Of the inner points OCFS2's stand for all: the others are the same text with other names.
    points = [point for point in load_probes(PROBES) if not point.is_inner or point.source == "ocfs2.bt"]
    kernel = KernelFunctions(load_symbols=lambda: {"aio_fsync_work": 0xFFFFFFFF8173D5C0})
    return [Chosen(number, point, with_addresses(point.ways[0], kernel)) for number, point in enumerate(points, 1)]


@pytest.mark.parametrize("batch", [STORED, BATCH, 1])
def test_the_program_is_the_same_for_the_same_inputs(batch: int) -> None:
    text = generate(chosen(), SCOPE, batch)
    golden = GOLDEN / f"program-batch-{batch}.bt"
    if os.environ.get("VIO_REGENERATE") == "1":
        golden.write_text(text)
    assert text == golden.read_text(), (
        "the program has changed: VIO_REGENERATE=1 pytest tests/golden, and read the difference"
    )


@pytest.mark.parametrize("point", load_probes(PROBES), ids=lambda point: point.name)
def test_no_way_is_a_return_probe_in_qemu(point: Point) -> None:
    providers = {way.provider for way in point.ways}
    assert providers <= {"uprobe", "tracepoint", "usdt", *KERNEL_PROVIDERS}


def test_a_difference_is_made_unsigned_again() -> None:
    # From bpftrace 0.26 on it is signed, and `x - 1 < 1024` would be true of 0.
    text = generate(chosen(), SCOPE, STORED)
    places = [found.start() for found in re.finditer(" - ", text)]
    assert places
    for place in places:
        depth, at = 1, place
        while depth:
            at -= 1
            depth += (text[at] == ")") - (text[at] == "(")
        assert text[:at].endswith("(uint64)"), text[at : place + 20]


@pytest.mark.live
@pytest.mark.beside
@pytest.mark.parametrize("batch", [STORED, BATCH, 1])
def test_bpftrace_understands_the_program(tmp_path: Path, batch: int) -> None:
    program = tmp_path / "program.bt"
    has = Path("/sys/kernel/tracing/events")
    there = [
        one
        for one in chosen()
        if one.way.provider == "uprobe"
        or (one.way.provider == "tracepoint" and (has / one.way.attach.split(":")[1]).exists())
    ]
    bpftrace = find_bpftrace()
    assert bpftrace is not None
    program.write_text(for_version(generate(there, SCOPE, batch), bpftrace.version))
    # before 0.22 a dry run is -d, which has another meaning since
    shown = subprocess.run(["bpftrace", "--help"], capture_output=True, text=True, check=False, timeout=30)
    dry = "--dry-run" if "--dry-run" in shown.stdout + shown.stderr else "-d"
    done = subprocess.run(
        ["bpftrace", dry, str(program)],
        env=os.environ | environment(BpftraceOptions(Path("bpftrace"))) | {"BPFTRACE_MISSING_PROBES": "ignore"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    complaints = [line for line in done.stderr.splitlines() if "ERROR" in line and "RLIMIT" not in line]
    assert (done.returncode, complaints) == (0, [])
