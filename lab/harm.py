"""Show that recording harms no guest: random IO under every shipped probe, all of its data checked.

`make harm` runs 10 minutes of it, `python -m lab.harm SECONDS` as long as is asked for. fio in the guest writes blocks
with checksums (crc32c) to random places and reads them back; another stretch is written first and read at the end, by
the guest and, from the images, by this machine. Then the images are checked (`qemu-img check`).
"""

import itertools
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lab.disk import Aio, Bus, Cache, Disk, Format, guest_names, make_image
from lab.guest import Guest
from lab.load import KIB, MIB, Load
from lab.session import Recorder
from lab.targets import root_directory
from lab.witness import Findings, examine
from vio.errors import VioError
from vio.layer import Layer
from vio.recording import Recording

WHOLE_S = 600
_DISK_BYTES = 256 * MIB
_STRETCH_BYTES = 64 * MIB  # one at the begin for random IO, one behind it that stays as it was written
_START_S = 120
_CHECK_LIMIT_S = 300
_RATE = 150  # IOs a second on each disk: the recording of 10 minutes is to fit anywhere


@dataclass(frozen=True, slots=True)
class Harm:
    """What was found: the recording's findings, how many points were observed, and faults; none is what we want."""

    findings: Findings
    point_count: int
    seconds: int
    faults: tuple[str, ...]


def play(seconds: int, recording: Path, directory: Path) -> Harm:
    """Record a guest that checks its own data, by every point that this machine offers, and look for harm.

    Its images are made in `directory`, which takes direct IO.

    Raises:
        VioError: QEMU or the recorder died, or the guest found wrong data.
    """
    return judged(seconds, recording, record_checked(seconds, recording, [directory]))


def record_checked(
    seconds: int,
    recording: Path,
    directories: Sequence[Path],
    *,
    accelerator: str = "tcg",
    cpus: int = 2,
    start_s: int = _START_S,
) -> tuple[str, ...]:
    """Record the guest, as `play` does, and return the faults of its images, which the directories take in turn.

    `start_s` is what the probes may take to be attached, while the guest waits, and again its load beside its time.
    """
    with ExitStack() as stack:
        disks = _disks(directories)
        names = guest_names(disks)
        load = Load("harm", (_each(names, _fill), _each(names, lambda name: _work(name, seconds)), _each(names, _kept)))
        guest = stack.enter_context(
            Guest(
                disks,
                load,
                wait_for_go=True,
                limit_s=2 * (seconds + start_s),
                cpus=cpus,
                memory_mib=768,
                accelerator=accelerator,
            )
        )
        _tell("the guest is up")
        opened = [word for layer in Layer for word in ("--open", layer.value)]
        recorder = stack.enter_context(Recorder(guest.pid, recording, *opened, echo=sys.stderr.buffer))
        guest.go()
        guest.wait_for_load()
        _tell("the guest has found its data intact")
        guest.wait()
        recorder.finish()
        return tuple(fault for disk in disks for fault in image_faults(disk))


def judged(seconds: int, recording: Path, faults: Sequence[str]) -> Harm:
    """Read what was recorded."""
    return Harm(examine(recording), _point_count(recording), seconds, tuple(faults))


def _disks(directories: Sequence[Path]) -> list[Disk]:
    places = itertools.cycle(directories)

    def image(name: str, kind: Format = Format.QCOW2) -> Path:
        return make_image(next(places) / f"{name}.{kind}", _DISK_BYTES, kind)

    return [
        Disk(image("native"), has_iothread=True),
        Disk(image("uring", Format.RAW), Format.RAW, Aio.IO_URING, has_iothread=True),
        Disk(image("cached"), aio=Aio.THREADS, cache=Cache.WRITEBACK, bus=Bus.VIRTIO_SCSI, has_iothread=True),
        Disk(image("threads", Format.RAW), Format.RAW, Aio.THREADS, has_iothread=True),
    ]


def _fio(name: str, path: str, **options: object) -> str:
    """Give a fio command; blocks have checksums, which it checks wherever it reads."""
    words = {"name": name, "filename": path, "verify": "crc32c", "verify_fatal": 1} | options
    return shlex.join(
        ["fio", "--eta=never", "--output=/dev/null", *(f"--{key}={value}" for key, value in words.items())]
    )


def _kept_stretch(direct: int = 1) -> dict[str, object]:
    return {"bs": 64 * KIB, "offset": _STRETCH_BYTES, "size": _STRETCH_BYTES, "direct": direct}


def _fill(disk: str) -> str:
    return _fio("fill", f"/dev/{disk}", rw="write", do_verify=0, iodepth=4, ioengine="libaio", **_kept_stretch())


def _work(disk: str, seconds: int) -> str:
    options = {"bsrange": "4k-64k", "iodepth": 8, "verify_backlog": 256, "fdatasync": 64, "rate_iops": _RATE}
    limits = {"size": _STRETCH_BYTES, "time_based": 1, "runtime": seconds, "direct": 1, "ioengine": "libaio"}
    return _fio("work", f"/dev/{disk}", rw="randwrite", **options, **limits)


def _kept(disk: str) -> str:
    return _fio("kept", f"/dev/{disk}", rw="read", iodepth=4, ioengine="libaio", **_kept_stretch())


def _each(names: Sequence[str], command: Callable[[str], str]) -> str:
    """Run a command for all disks at once; one that fails fails all."""
    parts = " ".join(f'{command(name)} & pids="$pids $!";' for name in names)
    return f"{parts} for pid in $pids; do wait $pid || exit 1; done"


def image_faults(disk: Disk) -> list[str]:
    """Check an image, and what is in the stretch that was not to change."""
    faults = []
    if disk.format is Format.QCOW2:
        faults += _fault("qemu-img", "check", "-q", "-f", "qcow2", str(disk.path))
    with tempfile.TemporaryDirectory(dir=disk.path.parent) as folder:
        raw = f"{folder}/disk.raw"
        faults += _fault("qemu-img", "convert", "-f", str(disk.format), "-O", "raw", str(disk.path), raw)
        faults += _fault(*shlex.split(_fio("outside", raw, rw="read", ioengine="psync", **_kept_stretch(direct=0))))
    return [f"{disk.path.name}: {fault}" for fault in faults]


def _fault(*command: str) -> list[str]:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_CHECK_LIMIT_S)
    return [f"{command[0]} {command[1]}: {ran.stderr.strip() or ran.stdout.strip()}"] if ran.returncode else []


def _tell(text: str) -> None:
    sys.stderr.write(f"[{time.monotonic():7.1f}] harm: {text}\n")
    sys.stderr.flush()


def _point_count(recording: Path) -> int:
    return len(Recording.open(recording).manifest.points)


def main(arguments: Sequence[str]) -> int:
    """Play it, and say what was found; 1 if there was any harm."""
    seconds = int(arguments[0]) if arguments else WHOLE_S
    with tempfile.TemporaryDirectory(prefix="vio-harm-") as folder, root_directory() as target:
        return told(play(seconds, Path(folder) / "harm.vio", target.directory))


def told(harm: Harm) -> int:
    """Say what was found; return 1 if there was any harm, else 0."""
    found = harm.findings
    sys.stdout.write(
        f"{harm.seconds} s under {harm.point_count} points: QEMU lives, the guest found all of its data intact; "
        f"{found.io_count:,} IOs, {found.whole_count:,} of them whole, losses {found.losses or 'none'}\n"
    )
    for fault in harm.faults:
        sys.stdout.write(f"harm: {fault}\n")
    return 1 if harm.faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VioError as error:
        sys.exit(f"harm: {error}")
