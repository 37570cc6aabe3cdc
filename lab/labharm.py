"""`python -m lab.labharm [SECONDS]`: what `make harm` does, on a lab host: with fentry, kprobes, OCFS2, NVMe and KVM.

Inside the host it is `python -m lab.labharm SECONDS inside`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lab.harm import play, told
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.volumes import FileSystem, Stack, load_modules, volume
from vio.errors import VioError

_WHOLE_S = 120
_MORE_S = 900.0  # bpftrace takes minutes to attach to so many points there
_DISK_BYTES = 8 << 30


def main(arguments: Sequence[str]) -> int:
    """Play it on a host of its own, and say what was found; 1 if there was any harm."""
    seconds = int(arguments[0]) if arguments else _WHOLE_S
    if arguments[1:] == ["inside"]:
        load_modules("kvm_amd")
        with volume(Stack.PLAIN, FileSystem.OCFS2) as place:
            return told(play(seconds, Path("/tmp/harm.vio"), place.directory, accelerator="kvm"))
    disk = make_disk(_DISK_BYTES)
    try:
        with Host([HostDisk(disk)], memory_mib=4096) as host:
            ran = host.run_module(
                "lab.labharm", str(seconds), "inside", timeout_s=seconds + _MORE_S, echo=sys.stderr.buffer
            )
    finally:
        disk.unlink()
    sys.stdout.write(ran.stdout)
    return ran.status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VioError as error:
        sys.exit(f"harm: {error}")
