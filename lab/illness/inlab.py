"""An illness that wants KVM, which a lab host has: a guest whose virtual CPU cannot take its interrupts.

Inside the host it is `python -m lab.illness.inlab RECORDING`.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lab.disk import Aio, Cache, Disk, Format, make_image
from lab.guest import Guest
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.load import MIB, FioJob, Load, fio
from lab.session import Recorder
from lab.truth.hog import hogging, pinned
from lab.volumes import PLACE, FileSystem, Stack, load_modules, volume
from vio.errors import VioError
from vio.recorder.procfs import VCPU, HostRoots, read_threads

_DISK_BYTES = 2 << 30
_LIMIT_S = 900.0
_HOG_LIMIT_S = 120.0
_BUSY_MS, _IDLE_MS = 60.0, 30.0
_OTHER_CPU, _HOGGED_CPU = 0, 1


@dataclass(frozen=True, slots=True)
class LabIllness:
    """One illness on a lab host: its recording's name, and the load."""

    name: str
    load: FioJob


ILLNESSES = (LabIllness("slow-interrupt", FioJob("randread", 60, depth=2, span_bytes=16 * MIB)),)
"""Those that this makes, in order."""


def record(names: frozenset[str], directory: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Record those that are named on a lab host; give each, and where its image was, when it is there."""
    for one in ILLNESSES:
        if one.name not in names:
            continue
        path = directory / f"{one.name}.vio"
        disk = make_disk(_DISK_BYTES)
        try:
            with Host([HostDisk(disk)]) as host:
                shared = host.directory / path.name
                host.run_module("lab.illness.inlab", one.name, str(shared), timeout_s=_LIMIT_S, echo=sys.stderr.buffer)
                shutil.copytree(shared, path)
        finally:
            disk.unlink()
        yield path, (PLACE,)


def _inside(name: str, shared: Path) -> None:
    """Record it, with the virtual CPU's thread on a CPU that a real-time process takes most of the time."""
    (illness,) = (one for one in ILLNESSES if one.name == name)
    load_modules("kvm_amd")
    local = Path("/tmp") / shared.name  # the shared directory is no place for quick small writes
    with ExitStack() as stack:
        place = stack.enter_context(volume(Stack.PLAIN, FileSystem.EXT4))
        image = make_image(place.directory / "disk.img", 64 * MIB, Format.RAW)
        disk = Disk(image, Format.RAW, Aio.NATIVE, Cache.NONE, has_iothread=True)
        load = Load(name, (fio(illness.load),))
        guest = Guest([disk], load, name="ill", wait_for_go=True, accelerator="kvm", limit_s=round(_LIMIT_S))
        stack.enter_context(guest)
        # those by name: of QEMU's nameless ones some end meanwhile
        threads = [thread for thread in read_threads(HostRoots().process(guest.pid)) if thread.role]
        recorder = stack.enter_context(Recorder(guest.pid, local, echo=sys.stderr.buffer))
        for thread in threads:
            stack.enter_context(pinned(thread.tid, _HOGGED_CPU if thread.role == VCPU else _OTHER_CPU))
        with hogging(_HOGGED_CPU, _BUSY_MS, _IDLE_MS, _HOG_LIMIT_S):
            guest.go()
            guest.wait_for_load()
        guest.wait()
        recorder.finish()
    shutil.copytree(local, shared)


if __name__ == "__main__":
    try:
        _inside(sys.argv[1], Path(sys.argv[2]))
    except VioError as error:
        sys.exit(f"lab: {error}")
