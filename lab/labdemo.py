"""`make lab`: boot a KVM host, record a guest on OCFS2 and NVMe there, and report on it here."""

import io
import subprocess
import sys
import time

from lab.demo import DEMO, described
from lab.disk import DiskStats
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.initramfs import REPOSITORY
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.scenario import Scenario, record_on
from lab.session import VIO
from vio.errors import VioError

RECORDING = DEMO / "lab.vio"
_DISK_BYTES = 4 << 30
LOAD = Load(
    "lab",
    (
        fio(FioJob("write", io_count=128, io_bytes=64 * KIB, depth=4)),
        fio(FioJob("randrw", io_count=400, depth=8, span_bytes=8 * MIB, flush_every=20)),
        fio(FioJob("read", io_count=64, io_bytes=64 * KIB, depth=4)),
    ),
)


def main() -> int:
    """Record and report; say how long each part took."""
    DEMO.mkdir(exist_ok=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    disk = make_disk(_DISK_BYTES)
    began_s = time.monotonic()
    try:
        print("lab: booting a KVM host; all of this takes some minutes")
        with Host([HostDisk(disk)]) as host:
            print(f"lab: it is up after {host.boot_s:.0f} s; its guest's disk will be on OCFS2 on NVMe")
            outcome = record_on(host, Scenario(LOAD), RECORDING, echo=sys.stderr.buffer)
    except VioError as error:
        print(f"lab: {error}", file=sys.stderr)
        return int(error.exit_code)
    finally:
        disk.unlink()
    _tell_counts(outcome.guest["vda"], outcome.devices["nvme0n1"])
    print(f"lab: recording {RECORDING.relative_to(REPOSITORY)}, {time.monotonic() - began_s:.0f} s in all")
    return subprocess.run((*VIO, "report", str(RECORDING)), check=False, timeout=60).returncode


def _tell_counts(guest: DiskStats, device: DiskStats) -> None:
    print(f"lab: the guest counted {described(guest)}")
    print(f"lab: the host's NVMe counted {described(device)}")


if __name__ == "__main__":
    sys.exit(main())
