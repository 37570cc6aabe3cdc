"""Record a VM whose storage hangs, on a lab host: its image is on a mapped device that is suspended meanwhile.

Inside the host it is `python -m lab.suspended DIRECTORY`: it leaves `suspended.vio` and `ended.json` there.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lab.disk import Disk, Format, make_image
from lab.guest import Guest
from lab.host import Host
from lab.load import MIB, FioJob, Load, fio
from lab.session import Recorder
from lab.volumes import FileSystem, Stack, load_modules, volume

RECORDING, ENDED = "suspended.vio", "ended.json"
DURATION_S = 40
"""Of the recording, by --duration: in an emulated machine all takes long."""
_LIMIT_S = 900.0
_RUNS_S = 8.0
_COMMAND_LIMIT_S = 30
_LOAD = Load("suspended", (fio(FioJob("randwrite", 100_000, depth=4, span_bytes=32 * MIB, rate=100)),))


def record_suspended(host: Host, output: Path, *, echo: BinaryIO | None = None) -> tuple[Path, float]:
    """Record there; give the recording, in `output`, and for how many seconds the recorder ran on after its time.

    Raises:
        LabError: the host is gone, or the recorder failed; the message says how.
    """
    directory = host.directory / f"suspended-{time.monotonic_ns()}"
    directory.mkdir()
    host.run_module("lab.suspended", str(directory), timeout_s=_LIMIT_S, echo=echo)
    shutil.copytree(directory / RECORDING, output / RECORDING)
    return output / RECORDING, float(json.loads((directory / ENDED).read_text())["late_s"])


def main(arguments: Sequence[str]) -> int:
    """Boot a guest on the volume, record it, suspend the device under it, and resume it when the recorder has ended."""
    directory = Path(arguments[0])
    local = Path("/tmp") / RECORDING  # the shared directory is no place for quick small writes
    load_modules("kvm_amd")
    with volume(Stack.LINEAR, FileSystem.EXT4) as place:
        device = place.devices[0]
        image = make_image(place.directory / "disk.raw", 64 * MIB, Format.RAW)
        disk = Disk(image, Format.RAW, has_iothread=True)
        guest = Guest([disk], _LOAD, wait_for_go=True, accelerator="kvm", limit_s=round(_LIMIT_S))
        with guest, Recorder(guest.pid, local, "--duration", f"{DURATION_S}s", echo=sys.stderr.buffer) as recorder:
            began_s = time.monotonic()
            guest.go()
            time.sleep(_RUNS_S)
            with _suspended(device):
                recorder.finish()
                late_s = time.monotonic() - began_s - DURATION_S
    shutil.copytree(local, directory / RECORDING)
    (directory / ENDED).write_text(json.dumps({"late_s": late_s}))
    return 0


@contextlib.contextmanager
def _suspended(device: str) -> Iterator[None]:
    """Let a mapped device (dm-0) answer nothing for a while."""
    name = (Path("/sys/block") / device / "dm" / "name").read_text().strip()
    _run("dmsetup", "suspend", "--nolockfs", "--noflush", name)
    try:
        yield
    finally:
        _run("dmsetup", "resume", name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_COMMAND_LIMIT_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
