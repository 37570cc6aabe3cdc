"""The bpf system call, and what /proc says of the kernel's BPF objects that a process holds."""

import contextlib
import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attribute: ctypes.Structure) -> int:
    """Make one call; `attribute` is what the command takes, and gets what it answers.

    Raises:
        OSError: the kernel refuses, or the number of the call is not known for this machine (ENOSYS).
    """
    number = _NUMBER.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of the bpf system call on {platform.machine()} is not known")
    done = _libc.syscall(number, command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(done)


def descriptors(process: Path) -> Iterator[dict[str, str]]:
    """Yield what the kernel says of each descriptor of a process (its directory in /proc); nothing if it is gone."""
    entries: list[Path] = []
    with contextlib.suppress(OSError):
        entries = list((process / "fdinfo").iterdir())
    for entry in entries:
        with contextlib.suppress(OSError):
            lines = (line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
            yield {name: value.strip() for name, value in lines}
