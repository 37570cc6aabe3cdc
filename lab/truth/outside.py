"""Injections on a lab host: play them there, judge here. `python -m lab.truth.outside` prints the table."""

import json
import sys
from pathlib import Path

from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.load import MIB
from lab.truth.attribution import Attribution, attribute, cell
from lab.truth.runner import lives_of
from lab.truth.table import row
from lab.witness import examine
from vio.layer import Op, Phase, Stage

_DISK_BYTES = 256 * MIB
_DEVICE = "/dev/nvme0n1"
_LIMIT_S = 420.0

EXPECTED = {"dm-delay": (cell(Stage.BLOCK, Phase.DOWN),)}
"""Injections on a lab host: the bio is queued on the mapped device, and waits before it is queued on the one below."""


def play_on_host(name: str) -> Attribution:
    """Boot a lab host, play one injection on it, and judge."""
    disk = make_disk(_DISK_BYTES)
    try:
        with Host([HostDisk(disk)], memory_mib=2048) as host:
            host.run_module("lab.truth.onhost", name, _DEVICE, str(host.directory), timeout_s=_LIMIT_S)
            return judge(host.directory, name)
    finally:
        disk.unlink()


def judge(directory: Path, name: str) -> Attribution:
    """Compare the reads without and with the delay; the truth is how long they took by qemu-io's own clock."""
    known = json.loads((directory / f"{name}.json").read_text())
    lives = lives_of(examine(directory / f"{name}.vio").ios, 0, (Op.READ,))
    base, slow = (lives.within(known[part]["from_ns"], known[part]["to_ns"]) for part in ("base", "slow"))
    usual_ns = sorted(known["base"]["took_ns"])[len(known["base"]["took_ns"]) // 2]
    injected_ns = sum(known["slow"]["took_ns"]) - len(known["slow"]["took_ns"]) * usual_ns
    return attribute(base, slow, injected_ns, EXPECTED[name])


if __name__ == "__main__":
    for each in sys.argv[1:] or EXPECTED:
        sys.stdout.write(row(each, play_on_host(each)) + "\n")
