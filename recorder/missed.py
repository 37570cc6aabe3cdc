"""Probe hits that the kernel did not run: another BPF program was active on that CPU (trace_call_bpf), or this one.

bpftrace never hears of them. The kernel counts them for each program: `recursion_misses` in /proc/PID/fdinfo, since
Linux commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented") (in v5.12). Which program belongs
to which attach point the kernel says itself (BPF_TASK_FD_QUERY); where it does not, the program's id is given.
"""

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vio.losses import Loss, LossKind
from vio.recorder.bpfcall import bpf, descriptors
from vio.recorder.procfs import HostRoots

_TASK_FD_QUERY = 20
_NAME_BYTES = 512
_TRACEPOINT, _KPROBE, _KRETPROBE, _UPROBE, _URETPROBE = 1, 2, 3, 4, 5
_FEXIT = "25"  # attach_type of a link: BPF_TRACE_FEXIT
_HOST = HostRoots()


class _FdQuery(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint32),
        ("fd", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("buf_len", ctypes.c_uint32),
        ("buf", ctypes.c_uint64),
        ("prog_id", ctypes.c_uint32),
        ("fd_type", ctypes.c_uint32),
        ("probe_offset", ctypes.c_uint64),
        ("probe_addr", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class AttachKey:
    """What the kernel says of an attached program.

    A tracepoint's name, a uprobe's offset in its file, a kprobe's function, or the BTF number of fentry's function.
    """

    tracepoint: str = ""
    file_offset: int = -1
    function: str = ""
    type_id: int = -1
    is_return: bool = False


class MissedHits:
    """Sample the kernel's counts of one bpftrace; `points` name its attach points."""

    def __init__(self, pid: int, points: Mapping[AttachKey, str], start_ns: int, roots: HostRoots = _HOST) -> None:
        self.losses: list[Loss] = []
        self._process = roots.process(pid)
        self._pid = pid
        self._points = points
        self._names: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._sampled_ns = start_ns

    def begin(self) -> None:
        """Find out which program is which, once all are attached."""
        self._names = {
            prog: self._points[key]
            for prog, key in attached_programs(self._pid, self._process).items()
            if key in self._points
        }
        self._counts = dict(read_misses(self._process))

    def sample(self, now_ns: int) -> None:
        """Note as losses what was missed since the last sample."""
        for prog, count in read_misses(self._process):
            more = count - self._counts.get(prog, 0)
            if more > 0:
                where = self._names.get(prog, f"BPF program {prog}")
                self.losses.append(Loss(LossKind.MISSED, where, more, self._sampled_ns, now_ns))
                self._counts[prog] = count
        self._sampled_ns = now_ns


def read_misses(process: Path) -> Iterator[tuple[int, int]]:
    """Yield (program id, recursion misses) of all BPF programs that a process holds."""
    for values in descriptors(process):
        if "prog_type" in values:
            yield int(values.get("prog_id", "0")), int(values.get("recursion_misses", "0"))


def attached_programs(pid: int, process: Path) -> dict[int, AttachKey]:
    """Ask the kernel where the programs of a process are attached; empty where it does not say."""
    found = dict(_linked_programs(process))
    try:
        events = [int(entry.name) for entry in (process / "fd").iterdir() if _is_event(entry)]
    except OSError:
        return found
    for descriptor in events:
        answer = _query(pid, descriptor)
        if answer:
            found[answer[0]] = answer[1]
    return found


def _linked_programs(process: Path) -> Iterator[tuple[int, AttachKey]]:
    """Yield the fentry programs: their links say where (since v5.13)."""
    for values in descriptors(process):
        if "link_type" in values and "target_btf_id" in values:
            is_return = values.get("attach_type") == _FEXIT
            yield int(values["prog_id"]), AttachKey(type_id=int(values["target_btf_id"]), is_return=is_return)


def _is_event(entry: Path) -> bool:
    try:
        return "perf_event" in str(entry.readlink())
    except OSError:
        return False


def _query(pid: int, descriptor: int) -> tuple[int, AttachKey] | None:
    name = ctypes.create_string_buffer(_NAME_BYTES)
    query = _FdQuery(pid=pid, fd=descriptor, buf_len=_NAME_BYTES, buf=ctypes.addressof(name))
    try:
        bpf(_TASK_FD_QUERY, query)
    except OSError:
        return None
    if query.fd_type == _TRACEPOINT:
        return query.prog_id, AttachKey(tracepoint=name.value.decode(errors="replace"))
    if query.fd_type in {_UPROBE, _URETPROBE}:
        key = AttachKey(file_offset=query.probe_offset, is_return=query.fd_type == _URETPROBE)
        return query.prog_id, key
    if query.fd_type in {_KPROBE, _KRETPROBE}:
        function = name.value.decode(errors="replace")
        return query.prog_id, AttachKey(function=function, is_return=query.fd_type == _KRETPROBE)
    return None
