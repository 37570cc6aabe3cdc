"""`python -m lab.labharm [SECONDS]`: what `make harm` does, on a lab host: with fentry, kprobes, OCFS2, NVMe and KVM.

Inside the host it is `python -m lab.labharm SECONDS DIRECTORY`, which leaves the recording and the faults there.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.harm import Harm, judged, record_checked, told
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.volumes import FileSystem, Stack, load_modules, volume
from vio.errors import VioError

_WHOLE_S = 60
_START_S = 900  # bpftrace takes minutes to attach to so many points there, and the guest to fill its disks
_MORE_S = 3 * _START_S
_DISK_BYTES = 2 << 30
_RECORDING, _FAULTS = "harm.vio", "faults.json"


def harm_on(host: Host, seconds: int) -> Harm:
    """Play it on a host, with an image on each kind of file system; what was recorded is read here: that is quicker.

    Raises:
        LabError: the host is gone, QEMU or the recorder died, or the guest found wrong data.
    """
    directory = host.directory
    words = "lab.labharm", str(seconds), str(directory)
    host.run_module(*words, timeout_s=seconds + _MORE_S, echo=sys.stderr.buffer)
    return judged(seconds, directory / _RECORDING, json.loads((directory / _FAULTS).read_text()))


def main(arguments: Sequence[str]) -> int:
    """Play it on a host of its own, and say what was found; 1 if there was any harm."""
    seconds = int(arguments[0]) if arguments else _WHOLE_S
    if arguments[1:]:
        return _inside(seconds, Path(arguments[1]))
    disks = [make_disk(_DISK_BYTES) for _ in FileSystem]
    try:
        with Host([HostDisk(disk) for disk in disks], memory_mib=6144, limit_s=seconds + _MORE_S) as host:
            return told(harm_on(host, seconds))
    finally:
        for disk in disks:
            disk.unlink()


def _inside(seconds: int, directory: Path) -> int:
    load_modules("kvm_amd")
    local = Path("/tmp") / _RECORDING  # the shared directory is no place for quick small writes
    with ExitStack() as stack:
        volumes = [stack.enter_context(volume(Stack.PLAIN, kind, disk)) for disk, kind in enumerate(FileSystem)]
        places = [one.directory for one in volumes]
        faults = record_checked(seconds, local, places, accelerator="kvm", cpus=1, start_s=_START_S)
    shutil.copytree(local, directory / _RECORDING)
    (directory / _FAULTS).write_text(json.dumps(faults))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VioError as error:
        sys.exit(f"harm: {error}")
