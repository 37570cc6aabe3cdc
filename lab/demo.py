"""`make demo`: boot a small guest, record what its disk does, and report on it."""

import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.disk import Aio, Cache, Disk, DiskStats, make_image
from lab.guest import Guest
from lab.initramfs import REPOSITORY
from lab.load import DEMO_DISK_BYTES, DEMO_LOAD
from lab.session import VIO, Recorder
from lab.targets import takes_direct_io
from vio.errors import HostError, VioError

DEMO = REPOSITORY / "demo"
RECORDING = DEMO / "demo.vio"
PICTURE = DEMO / "timeline.png"
SAMPLE = REPOSITORY / "reporter" / "sample" / "demo.vio"


def main() -> int:
    """Run the demo; where this machine cannot trace, say why and report on the sample recording."""
    DEMO.mkdir(exist_ok=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        recording = _record() if _can_record() else _sample()
    except HostError as error:
        print(f"demo: {error}", file=sys.stderr)
        recording = _sample()
    except VioError as error:
        print(f"demo: {error}", file=sys.stderr)
        return int(error.exit_code)
    return _report(recording)


def _can_record() -> bool:
    doctor = subprocess.run((*VIO, "doctor", "--json"), capture_output=True, text=True, check=False, timeout=60)
    try:
        can_record = bool(json.loads(doctor.stdout)["can_record"])
    except (ValueError, KeyError):
        raise VioError(f"vio doctor failed: {doctor.stderr.strip()}") from None
    if not can_record:
        print("demo: this machine cannot trace; vio doctor says why:")
        subprocess.run((*VIO, "doctor"), check=False, timeout=60)
    return can_record


def _record() -> Path:
    with tempfile.TemporaryDirectory(prefix="disk-", dir=DEMO) as folder:
        disk = _disk(Path(folder))
        print("demo: booting a small guest on a qcow2 disk")
        with Guest([disk], DEMO_LOAD, name="demo", wait_for_go=True) as guest:
            print(f"demo: the guest is up after {guest.boot_s:.1f} s; attaching")
            with Recorder(guest.pid, RECORDING, echo=sys.stderr.buffer) as recorder:
                print("demo: the guest begins its load")
                guest.go()
                stats = guest.wait()
                recorder.finish()
    print(f"demo: the guest itself counted {described(stats['vda'])}")
    return RECORDING


def _disk(folder: Path) -> Disk:
    image = make_image(folder / "disk.qcow2", DEMO_DISK_BYTES)
    if takes_direct_io(folder):
        return Disk(image)
    return Disk(image, aio=Aio.THREADS, cache=Cache.WRITEBACK)


def described(stats: DiskStats) -> str:
    """Say in a line what a disk did."""
    return (
        f"{stats.read_ios} reads ({stats.read_bytes:,} bytes), "
        f"{stats.data_write_ios} writes ({stats.write_bytes:,} bytes), "
        f"{stats.discard_ios} discards, {stats.flush_ios} flushes"
    )


def _sample() -> Path:
    print("demo: reporting on the recording that comes with vio")
    shutil.rmtree(RECORDING, ignore_errors=True)
    shutil.copytree(SAMPLE, RECORDING)
    return RECORDING


def _report(recording: Path) -> int:
    report = (*VIO, "report", str(recording))
    for command in (report, (*report, "--plot", str(PICTURE))):
        sys.stdout.flush()
        status = subprocess.run(command, check=False, timeout=60).returncode
        if status:
            return status
    print(f"demo: recording {recording.relative_to(REPOSITORY)}, picture {PICTURE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
