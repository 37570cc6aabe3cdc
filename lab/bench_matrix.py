"""A real guest's load on every way that QEMU has to the kernel: is every IO followed, and do all counts agree?"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.disk import Aio, Cache, Disk, make_image
from lab.load import DEMO_DISK_BYTES, MIB, bench_load
from lab.session import Outcome, record_guest
from lab.targets import TARGETS
from lab.witness import Findings, Traffic, device_traffic, examine, guest_differences
from vio.reporter.cachefigures import WritebackFigures

IO_COUNT = 20_000
DEPTH = 16
HEADING = "A real guest, every IO"
_HEAD = (
    "images on",
    "aio",
    "cache",
    "IOs",
    "whole",
    "sums exact",
    "records lost",
    "guest's counts",
    "device's bytes (recorded - counted)",
    "address differs from identity",
    "not reached",
    "written back, linked",
)


@dataclass(frozen=True, slots=True)
class Way:
    """Where the image lies, and how QEMU opens it."""

    target: str
    aio: Aio
    cache: Cache


WAYS = tuple(
    Way(target, aio, cache)
    for target in ("root", "xfs-loop")
    for aio in Aio
    for cache in (Cache.NONE, Cache.WRITEBACK)
    if cache.is_direct or aio is not Aio.NATIVE
)


@dataclass(frozen=True, slots=True)
class Result:
    """One way's outcome, and what the report found in it."""

    way: Way
    outcome: Outcome
    findings: Findings


def run(ways: tuple[Way, ...] = WAYS, tell: Callable[[str], object] = lambda text: None) -> str:
    """Record the load on each way; return a table in Markdown, and `tell` each line when it is known."""
    lines = [_row(*_HEAD), _row(*("---",) * len(_HEAD))]
    for way in ways:
        with tempfile.TemporaryDirectory(prefix="vio-matrix-", dir="/var/tmp") as folder:
            lines.append(_described(_result(way, Path(folder))))
        tell(lines[-1])
    return "\n".join(lines)


def machine() -> str:
    """Say in a line what the benchmark ran on."""
    words = {
        "CPUs": ("nproc",),
        "Linux": ("uname", "-r"),
        "": ("bpftrace", "--version"),
        "QEMU": ("sh", "-c", "qemu-system-x86_64 --version | head -n 1"),
    }
    said = {
        name: subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
        for name, line in words.items()
    }
    return f"{said['CPUs']} CPUs, Linux {said['Linux']}, {said['QEMU']}, {said['']}; the guest by TCG, one CPU"


def _result(way: Way, folder: Path) -> Result:
    with TARGETS[way.target]() as target:
        image = make_image(target.directory / "disk.qcow2", DEMO_DISK_BYTES)
        disk = Disk(image, aio=way.aio, cache=way.cache)
        outcome = record_guest([disk], bench_load(IO_COUNT, DEPTH), folder / "run.vio", devices=target.devices)
    return Result(way, outcome, examine(outcome.recording))


def _described(result: Result) -> str:
    way, findings = result.way, result.findings
    differences = guest_differences(findings.ios, result.outcome)
    devices = [
        f"{name} {_difference(device_traffic(result.outcome, name), Traffic.counted(stats))}"
        for name, stats in result.outcome.devices.items()
    ]
    return _row(
        way.target,
        str(way.aio),
        str(way.cache),
        f"{findings.io_count:,}",
        _share(findings.whole_count, findings.io_count),
        _share(findings.exact_count, findings.io_count),
        ", ".join(f"{kind} {records}" for kind, records in findings.losses.items()) or "0",
        "; ".join(differences) or "equal",
        "; ".join(devices),
        f"{_share(findings.disagree, findings.checked)} of {findings.checked:,}",
        ", ".join(f"{gap.stage} {_share(gap.count, gap.of)}" for gap in findings.unreached) or "-",
        _writeback(findings.writeback),
    )


def _writeback(figures: WritebackFigures | None) -> str:
    """Say how much of what went into the page cache came out of it, and how much of that is linked to its IOs."""
    if figures is None or not figures.cached_bytes:
        return "-"
    back = figures.linked_bytes + figures.own_bytes
    return (
        f"{_share(back, figures.cached_bytes)} of {figures.cached_bytes / MIB:,.0f} MiB,"
        f" {_share(back, figures.image_bytes)} of the images' {figures.image_bytes / MIB:,.0f} MiB linked"
    )


def _difference(recorded: Traffic, counted: Traffic) -> str:
    if recorded == counted:
        return "equal"
    parts = {
        "read": (recorded.read_bytes - counted.read_bytes, counted.read_bytes),
        "written": (recorded.write_bytes - counted.write_bytes, counted.write_bytes),
        "discarded": (recorded.discard_bytes - counted.discard_bytes, counted.discard_bytes),
    }
    return ", ".join(f"{what} {more:+,} of {of:,}" for what, (more, of) in parts.items() if more)


def _share(part: int, whole: int) -> str:
    """Give a share that says 100 % and 0 % of nothing less."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if part == whole or not part:
        return f"{percent:.0f} %"
    return f"{min(max(percent, 0.001), 99.999):.3f} %"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.stderr.write(f"{machine()}\n")
    sys.stdout.write(run(tell=lambda text: sys.stderr.write(f"{text}\n")) + "\n")
