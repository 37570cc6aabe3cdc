"""Read QEMU's version out of its binary.

The binary is never run. vio is root, and a VM's binary can lie where another user may replace it
(a build in a home directory, a container's file system, a FUSE mount that lies about owner and mode);
no look at the file beforehand closes that gap. Its text holds the version as well.
"""

import re
from functools import lru_cache
from pathlib import Path

from vio.recorder.elf import ElfError, read_section

# "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)" / "qemu-img version ..." / "%s version ..." /
# "%s 7.2.22 (...)": the version strings of qemu-system, the tools, qemu-io and qemu-nbd.
_VERSION = re.compile(
    rb"\0(?:QEMU emulator version|qemu-img version|qemu-storage-daemon version|%s version|%s) "
    rb"(\d+\.\d+\.\d+[^\0\n]{0,120})[\0\n]"
)


def read_version(path: Path) -> str:
    """Return the version in the binary at `path`, "" if it cannot be read or holds none."""
    try:
        status = path.stat()
        return _read_version(path, (status.st_dev, status.st_ino, status.st_mtime_ns))
    except (OSError, ElfError):
        return ""


@lru_cache(maxsize=32)
def _read_version(path: Path, _identity: tuple[int, int, int]) -> str:
    found = _VERSION.search(read_section(path, ".rodata"))
    return found.group(1).decode(errors="replace").strip() if found else ""
