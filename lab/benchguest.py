"""Make a guest for `vio bench`: a kernel, and an initramfs that runs the fio job on the kernel's command line.

`python -m lab.benchguest DIR` puts `vmlinuz` and `initramfs.cpio` into DIR. What stands behind `--` on the kernel's
command line is fio's; its figures go to the second serial port, as JSON. examples/bench/guest-fio.toml uses it.
"""

import shutil
import sys
from pathlib import Path

from lab import cpio, initramfs

# The kernel gives a word without a meaning to init, too; all behind `--` is only ours.
_LOAD = """set -- $(sed 's/.* -- //' /proc/cmdline)
fio --name=bench --ioengine=libaio --direct=1 --group_reporting --output-format=json --output=/dev/ttyS1 "$@"
"""
_LIMIT_S = 600


def build(directory: Path) -> None:
    """Put the kernel and the initramfs into `directory`, which is made if need be."""
    kernel = initramfs.find_kernel()
    settings = f"LIMIT_S={_LIMIT_S}\nWAIT_FOR_GO=0\nSCSI_DISKS=0\n"
    files = {"settings": settings, "load/000": _LOAD}
    load = cpio.archive(cpio.file_entry(f"/lab/{name}", text.encode()) for name, text in files.items())
    base = initramfs.build(kernel).read_bytes()
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kernel.image, directory / "vmlinuz")
    (directory / "initramfs.cpio").write_bytes(base + load)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
