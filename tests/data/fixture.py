"""What the scripts that make the recordings in this directory share."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.host import Host
from lab.hostmachine import Bus, HostDisk, make_disk
from lab.scenario import Scenario, record_on
from lab.witness import examine, guest_differences

from vio.errors import VioError

_KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}


def record_scenario(scenario: Scenario, target: Path, buses: Sequence[Bus], disk_bytes: int, limit_bytes: int) -> None:
    """Play a scenario on a lab host with such disks; keep its recording, if it is whole and small enough.

    Raises:
        VioError: it is not, or the host is gone.
    """
    disks = [make_disk(disk_bytes) for _ in buses]
    try:
        with Host([HostDisk(disk, bus) for disk, bus in zip(disks, buses, strict=True)]) as host:
            outcome = record_on(host, scenario, target, echo=sys.stderr.buffer)
    finally:
        for disk in disks:
            disk.unlink()
    with tempfile.TemporaryDirectory() as folder:
        findings = examine(target, Path(folder) / "ios.parquet")
    differences = guest_differences(findings.ios, outcome)
    if differences or findings.losses:
        raise VioError(f"{target.name} is no good: {differences}, {findings.losses}")
    trim(target, limit_bytes)


def trim(recording: Path, limit_bytes: int) -> None:
    """Keep what a report needs.

    Raises:
        VioError: that is too much.
    """
    for path in recording.iterdir():
        if path.name not in _KEPT:
            path.unlink()
    size_bytes = sum(file.stat().st_size for file in recording.rglob("*") if file.is_file())
    if size_bytes > limit_bytes:
        raise VioError(f"{recording.name} is no good: {size_bytes:,} bytes")


def run(main: Callable[[], None]) -> None:
    """Run a script's main; what went wrong is one line."""
    try:
        main()
    except VioError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
