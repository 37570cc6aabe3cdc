"""Make tests/data/sched.vio anew: a short real recording of a guest whose threads are kept from running; as root.

`.venv/bin/python -m tests.data.make_sched` in the checkout. Its iothreads share a CPU with a real-time hog, and QEMU is
stopped some times. truth.json beside it says when, by a trace of the iothreads' own and by the clock.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc
from lab.disk import Aio, Disk, DiskStats, Format, make_image
from lab.guest import Guest
from lab.load import MIB, FioJob, Load, fio
from lab.session import Recorder, rename_images
from lab.targets import xfs_on_loop_on_tmpfs
from lab.truth import qmp
from lab.truth.hog import hogging, pinned
from lab.truth.sched import queue_delays
from lab.witness import examine

from vio.errors import VioError

SCHED = Path(__file__).parent / "sched.vio"
LIMIT_BYTES = 300_000
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
_STOP_S, _PAUSE_S, _STOPS = 0.015, 0.04, 20
_BUSY_IOS, _LIMIT_S = 30, 30.0
_LOAD = Load("sched", (fio(*(FioJob("randread", 80, depth=2, rate=50, disk=disk) for disk in ("vda", "vdb"))),))


def main() -> int:
    """Record, check, and put the recording in its place."""
    with tempfile.TemporaryDirectory(prefix="vio-sched-", dir="/var/tmp") as folder:
        made = Path(folder) / SCHED.name
        # on memory: the disk has neighbours, whose IO would be recorded too
        with xfs_on_loop_on_tmpfs() as target:
            places = {name: target.directory / f"{name}.raw" for name in ("native", "threads")}
            disks = [
                Disk(make_image(path, 64 * MIB, Format.RAW), Format.RAW, aio=Aio(name), has_iothread=True)
                for name, path in places.items()
            ]
            for path in places.values():
                path.write_bytes(b"\x5a" * (64 * MIB))
            truth = _record(disks, made, target.devices[0])
            findings = examine(made)
            if not pc.any(pc.greater(findings.ios["stopped_ns"], 0)).as_py():
                raise VioError("no IO was in flight while QEMU was stopped", "try again")
            if findings.losses or findings.whole_count < findings.io_count:
                raise VioError(f"this recording is no good: {findings.losses}, {findings.lacks}", "try again")
            rename_images(made, target.directory)
        for path in made.iterdir():
            if path.name not in KEPT:
                path.unlink()
        (made / "truth.json").write_text(json.dumps(truth) + "\n")
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        if size > LIMIT_BYTES:
            raise VioError(f"this recording is too large for a fixture: {size:,} bytes", "try again")
        shutil.rmtree(SCHED, ignore_errors=True)
        shutil.copytree(made, SCHED)
    return 0


def _record(disks: list[Disk], made: Path, device: str) -> dict[str, object]:
    cpu = min(os.sched_getaffinity(0))
    with Guest(disks, _LOAD, name="sched", wait_for_go=True) as guest, Recorder(guest.pid, made) as recorder:
        native, threads = qmp.iothread_tids(guest.qmp_socket).values()
        with pinned(native, cpu), pinned(threads, cpu), queue_delays(native) as delays, hogging(cpu, 2, 3, 10):
            guest.go()
            _wait_until_busy(device)
            stops = [_stop(guest.pid) for _ in range(_STOPS)]
            guest.wait_for_load()
        guest.wait()
        recorder.finish()
    return {"tid": native, "delays": delays.intervals, "stopped": stops}


def _wait_until_busy(device: str) -> None:
    before, deadline_s = DiskStats.of_device(device).io_count, time.monotonic() + _LIMIT_S
    while DiskStats.of_device(device).io_count < before + _BUSY_IOS:
        if time.monotonic() > deadline_s:
            raise VioError("the guest's load does not begin")
        time.sleep(0.005)


def _stop(pid: int) -> tuple[int, int]:
    """Stop a process for a while; return from when to when."""
    from_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(_STOP_S)
    to_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.kill(pid, signal.SIGCONT)
    time.sleep(_PAUSE_S)
    return from_ns, to_ns


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VioError as error:
        sys.exit(f"make_sched: {error}")
