"""Control groups of version 1 or 2, made for one injection and removed after it."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from vio.errors import HostError

_MOUNTS = Path("/sys/fs/cgroup")
_REMOVE_LIMIT_S = 5.0


def has_controller(name: str) -> bool:
    """Tell whether this host has a version 1 hierarchy of a controller."""
    return (_MOUNTS / name / "tasks").exists()


def has_io_controller() -> bool:
    """Tell whether this host can limit the IO of a process, in either version."""
    controllers = _MOUNTS / "cgroup.controllers"
    return has_controller("blkio") or (controllers.exists() and "io" in controllers.read_text().split())


@contextlib.contextmanager
def reads_limited(pid: int, device: str, iops: int) -> Iterator[None]:
    """Let a process do at most `iops` reads a second on a block device (loop3)."""
    number = Path("/sys/class/block", device, "dev").read_text().strip()
    if has_controller("blkio"):
        with _group(_MOUNTS / "blkio") as group:
            (group / "blkio.throttle.read_iops_device").write_text(f"{number} {iops}")
            with _member(group, _MOUNTS / "blkio", "cgroup.procs", pid):
                yield
        return
    if not has_io_controller():
        raise HostError("no control group limits IO here")
    was_on = "io" in (_MOUNTS / "cgroup.subtree_control").read_text().split()
    home = _MOUNTS / Path(f"/proc/{pid}/cgroup").read_text().split("::", 1)[1].strip().lstrip("/")
    try:
        (_MOUNTS / "cgroup.subtree_control").write_text("+io")
        with _group(_MOUNTS) as group:
            (group / "io.max").write_text(f"{number} riops={iops}")
            with _member(group, home, "cgroup.procs", pid):
                yield
    finally:
        if not was_on:
            (_MOUNTS / "cgroup.subtree_control").write_text("-io")


@contextlib.contextmanager
def thread_freezer(tid: int) -> Iterator[Path]:
    """Put one thread into a freezer; writing FROZEN and THAWED to the file that this gives stops and starts it."""
    root = _MOUNTS / "freezer"
    with _group(root) as group, _member(group, root, "tasks", tid):
        state = group / "freezer.state"
        try:
            yield state
        finally:
            state.write_text("THAWED")


@contextlib.contextmanager
def _group(parent: Path) -> Iterator[Path]:
    group = parent / f"vio-truth-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    deadline_s = time.monotonic() + _REMOVE_LIMIT_S
    while True:
        try:
            return group.rmdir()
        except OSError:  # its last member is still on its way out
            if time.monotonic() > deadline_s:
                raise
        time.sleep(0.05)


@contextlib.contextmanager
def _member(group: Path, home: Path, file: str, number: int) -> Iterator[None]:
    (group / file).write_text(str(number))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            (home / file).write_text(str(number))
