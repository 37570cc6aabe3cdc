"""Read other processes from /proc: command lines, threads, open files, mounts.

The place of /proc and /sys is a parameter, so that tests can use made-up ones.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STEAL = 7  # user, nice, system, idle, iowait, irq, softirq, steal
_DELETED = " (deleted)"

# (is a block device, major, minor, inode); a block device is the same through any of its nodes
FileIdentity = tuple[bool, int, int, int]


@dataclass(frozen=True, slots=True)
class HostRoots:
    """Where the kernel's file systems are mounted."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def process(self, pid: int) -> Path:
        """Return the directory of one process."""
        return self.proc / str(pid)


VCPU = "vcpu"


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread of a process; `role` says what QEMU uses it for, where its name tells."""

    tid: int
    comm: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file or block device that a process has open.

    `device` is (major, minor) of the file system that holds a regular file, and of the device itself
    for a block device.
    """

    fd: int
    path: str
    device: tuple[int, int]
    inode: int
    size_bytes: int
    flags: int
    mount_id: int
    is_block_device: bool
    is_deleted: bool

    @property
    def identity(self) -> FileIdentity:
        """What tells that two descriptors, or a path and a descriptor, are of one file."""
        return (self.is_block_device, *self.device, 0 if self.is_block_device else self.inode)

    @property
    def is_direct(self) -> bool:
        """Whether it is open with O_DIRECT."""
        return bool(self.flags & os.O_DIRECT)

    @property
    def is_writable(self) -> bool:
        """Whether it is open for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a mountinfo file."""

    mount_id: int
    device: tuple[int, int]
    mount_point: str
    fs_type: str
    source: str


def identity_of(status: os.stat_result) -> FileIdentity:
    """Return the identity of the file that `status` was taken from."""
    if stat.S_ISBLK(status.st_mode):
        return True, os.major(status.st_rdev), os.minor(status.st_rdev), 0
    return False, os.major(status.st_dev), os.minor(status.st_dev), status.st_ino


def process_ids(roots: HostRoots) -> list[int]:
    """Return the ids of all processes."""
    return sorted(int(entry.name) for entry in roots.proc.iterdir() if entry.name.isdecimal())


def read_argv(process: Path) -> list[str]:
    """Return a process's arguments; empty for kernel threads and processes that have ended."""
    words = (process / "cmdline").read_bytes().split(b"\0")
    return [os.fsdecode(word) for word in words[:-1]] or [os.fsdecode(word) for word in words if word]


def read_comm(process: Path) -> str:
    """Return a process's or thread's own name (at most 15 bytes)."""
    return os.fsdecode((process / "comm").read_bytes()).rstrip("\n")


def read_executable(process: Path) -> tuple[str, bool]:
    """Return the path of a process's binary, and whether that file has been deleted or replaced."""
    path = str((process / "exe").readlink())
    return path.removesuffix(_DELETED), path.endswith(_DELETED)


def read_start_ticks(process: Path) -> int:
    """Return when a process started, in clock ticks since boot: with its pid, its identity."""
    text = (process / "stat").read_text(errors="replace")
    return int(text[text.rindex(")") + 2 :].split()[19])


def read_cpu_s(process: Path) -> float:
    """Return the CPU seconds that a process has taken so far; one that has ended, until its parent notices, too."""
    text = (process / "stat").read_text(errors="replace")
    user, system = text[text.rindex(")") + 2 :].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def read_stolen_s(roots: HostRoots) -> float:
    """Return the CPU seconds that the hypervisor below has withheld from all CPUs of this machine so far (steal).

    0 where there is none, or where it does not tell.

    Raises:
        OSError, ValueError: /proc/stat cannot be read.
    """
    with (roots.proc / "stat").open(encoding="ascii") as file:
        name, *ticks = file.readline().split() or [""]
    if name != "cpu" or len(ticks) <= _STEAL:
        raise ValueError("/proc/stat does not begin with the CPUs' times")
    return int(ticks[_STEAL]) / _TICKS_PER_SECOND


def is_zombie(process: Path) -> bool:
    """Whether a process has ended and only waits for its parent to notice."""
    try:
        text = (process / "stat").read_text(errors="replace")
    except OSError:
        return False
    return text[text.rfind(")") :].startswith(") Z")


def ticks_to_ns(ticks: int) -> int:
    """Turn clock ticks since boot into nanoseconds of CLOCK_BOOTTIME."""
    return ticks * 1_000_000_000 // _TICKS_PER_SECOND


def read_threads(process: Path) -> list[Thread]:
    """Return a process's threads, those that end meanwhile left out."""
    threads = []
    for tid in sorted(int(entry.name) for entry in (process / "task").iterdir()):
        try:
            comm = read_comm(process / "task" / str(tid))
        except (FileNotFoundError, ProcessLookupError):
            continue
        threads.append(Thread(tid, comm, _role(tid == int(process.name), comm)))
    return threads


def _role(is_main: bool, comm: str) -> str:
    """Tell a thread's role from the name that QEMU gives it under `-name ...,debug-threads=on`."""
    if is_main:
        return "main"
    if comm.startswith("IO "):
        return f"iothread:{comm.removeprefix('IO ')}"
    if comm.startswith("CPU "):
        return VCPU
    return "worker" if comm == "worker" else ""


def read_open_files(process: Path) -> list[OpenFile]:
    """Return the regular files and block devices that a process has open."""
    found = []
    for fd in sorted(int(entry.name) for entry in (process / "fd").iterdir()):
        try:
            file = _read_open_file(process, fd)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if file:
            found.append(file)
    return found


def read_written_paths(process: Path) -> list[str]:
    """Return the paths of the files and block devices that a process has open for writing.

    No file system is asked of the files themselves: it may hang. So deleted files are left out.
    """
    found = []
    for entry in (process / "fd").iterdir():
        try:
            path, info = str(entry.readlink()), _read_fdinfo(process / "fdinfo" / entry.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
        is_named = path.startswith("/") and not path.startswith("/memfd:") and not path.endswith(_DELETED)
        if is_named and int(info.get("flags", "0"), 8) & os.O_ACCMODE != os.O_RDONLY and _may_be_image(path):
            found.append(path)
    return found


def _may_be_image(path: str) -> bool:
    # a character device is none
    return not path.startswith("/dev/") or Path(path).is_block_device()


def _read_open_file(process: Path, fd: int) -> OpenFile | None:
    link = process / "fd" / str(fd)
    path = str(link.readlink())
    if not path.startswith("/"):
        return None
    status = link.stat()
    is_block = stat.S_ISBLK(status.st_mode)
    if not is_block and not stat.S_ISREG(status.st_mode):
        return None
    info = _read_fdinfo(process / "fdinfo" / str(fd))
    device = status.st_rdev if is_block else status.st_dev
    return OpenFile(
        fd=fd,
        path=path.removesuffix(_DELETED) if status.st_nlink == 0 else path,
        device=(os.major(device), os.minor(device)),
        inode=status.st_ino,
        size_bytes=status.st_size,
        flags=int(info.get("flags", "0"), 8),
        mount_id=int(info.get("mnt_id", "-1")),
        is_block_device=is_block,
        is_deleted=status.st_nlink == 0,
    )


def _read_fdinfo(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
    return {key: value.strip() for key, colon, value in pairs if colon}


def socket_inodes(process: Path) -> set[int]:
    """Return the inode numbers of a process's sockets."""
    inodes = set()
    for entry in (process / "fd").iterdir():
        try:
            link = str(entry.readlink())
        except FileNotFoundError:
            continue
        if link.startswith("socket:[") and link.endswith("]"):
            inodes.add(int(link[8:-1]))
    return inodes


def read_mounts(process: Path) -> list[Mount]:
    """Return the mounts of the name space that a process lives in."""
    lines = os.fsdecode((process / "mountinfo").read_bytes()).splitlines()
    return list(_parse_mounts(lines))


def _parse_mounts(lines: list[str]) -> Iterator[Mount]:
    for line in lines:
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not dash or len(left) < 5 or len(right) < 2:
            continue
        major, _, minor = left[2].partition(":")
        yield Mount(int(left[0]), (int(major), int(minor)), _unescape(left[4]), right[0], _unescape(right[1]))


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
