"""Illnesses that need a guest of their own: what is ill is how its disk was set up."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lab.guest import Guest
from lab.load import KIB, MIB, FioJob, Load, fio
from lab.session import Recorder
from lab.targets import xfs_on_loop_on_tmpfs

_LIMIT_S = 60
_BYTES = 64 * MIB
_AIO_MAX = Path("/proc/sys/fs/aio-max-nr")
_AIO_NOW = Path("/proc/sys/fs/aio-nr")
_ONE_CONTEXT = 1024  # what QEMU asks for, once for each event loop
_SECRET = "secret,id=key0,data=vio"

Node = dict[str, object]


@dataclass(frozen=True, slots=True)
class OwnIllness:
    """One illness: its recording's name, what makes the image and gives its node, the load, what holds meanwhile."""

    name: str
    make: Callable[[Path], Node]
    load: FioJob
    around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    arguments: tuple[str, ...] = ()


def record(names: frozenset[str], directory: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Record those that are named; give each recording, and where its image was, when it is there."""
    for one in ILLNESSES:
        if one.name not in names:
            continue
        path = directory / f"{one.name}.vio"
        with xfs_on_loop_on_tmpfs() as target:
            node = json.dumps(one.make(target.directory / "disk.img") | {"node-name": "disk0"})
            words = (*one.arguments, "-blockdev", node, "-object", "iothread,id=iothread0")
            words = (*words, "-device", "virtio-blk-pci,drive=disk0,id=virtio0,iothread=iothread0")
            guest = Guest([], Load(one.name, (fio(one.load),)), name="ill", wait_for_go=True, extra_arguments=words)
            with one.around(), guest, Recorder(guest.pid, path) as recorder:
                guest.go()
                guest.wait_for_load()
                guest.wait()
                recorder.finish()
            yield path, (target.directory,)


def _file(path: Path) -> Node:
    return {"driver": "file", "filename": str(path), "aio": "native", "cache": {"direct": True}}


def _raw(path: Path) -> Node:
    path.write_bytes(b"\x5a" * _BYTES)
    return {"driver": "raw", "cache": {"direct": True}, "file": _file(path)}


def _luks(path: Path) -> Node:
    """Make an image that QEMU deciphers, on the thread that takes the IO."""
    create = ("qemu-img", "create", "-q", "-f", "luks", "--object", _SECRET, "-o", "key-secret=key0,iter-time=10")
    _run(*create, str(path), str(_BYTES))
    image = f"driver=luks,key-secret=key0,file.driver=file,file.filename={path}"
    _run("qemu-io", "--object", _SECRET, "--image-opts", "-c", f"write -q 0 {_BYTES}", image)
    return {"driver": "luks", "key-secret": "key0", "cache": {"direct": True}, "file": _file(path)}


@contextlib.contextmanager
def _one_aio_context() -> Iterator[None]:
    """Leave the kernel's asynchronous IO to one event loop more: QEMU's main loop takes it, an iothread gets none."""
    before = _AIO_MAX.read_text()
    _AIO_MAX.write_text(str(int(_AIO_NOW.read_text()) + _ONE_CONTEXT))
    try:
        yield
    finally:
        _AIO_MAX.write_text(before)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)


ILLNESSES = (
    OwnIllness(
        "saturated",
        _luks,
        FioJob("randread", 160, io_bytes=512 * KIB, depth=8, span_bytes=_BYTES),
        arguments=("-object", _SECRET),
    ),
    OwnIllness("worker-threads", _raw, FioJob("randread", 160, depth=4, span_bytes=_BYTES), _one_aio_context),
)
"""Those that this makes, in order."""
