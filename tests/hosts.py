"""Builders of hosts and QEMUs that have everything, or what a test takes away."""

from dataclasses import replace
from pathlib import Path

from vio.recorder.checkup import PROBES
from vio.recorder.cmdline import TargetKind
from vio.recorder.doctor import uprobe_symbols
from vio.recorder.elf import Binary, Function, _Segment
from vio.recorder.host import Bpftrace, HostFeatures
from vio.recorder.probe import load_probes
from vio.recorder.subject import Subject

PUSH, SUB, LOCK = b"\x55" + bytes(15), b"\x48\x83\xec\x08" + bytes(12), b"\xf0" + bytes(15)
POINTS = load_probes(PROBES)
EVENTS = frozenset(
    way.attach.removeprefix("tracepoint:") for point in POINTS for way in point.ways if way.provider == "tracepoint"
)
KERNEL_64 = EVENTS - {"io_uring:io_uring_submit_sqe"}


def a_host(**changes: object) -> HostFeatures:
    host = HostFeatures(
        kernel_release="6.18.0",
        machine="x86_64",
        is_root=True,
        capabilities=frozenset({"CAP_SYS_ADMIN"}),
        bpftrace=Bpftrace(Path("/usr/bin/bpftrace"), (0, 17, 0), "bpftrace v0.17.0"),
        has_btf=True,
        tracefs=Path("/sys/kernel/tracing"),
        tracepoints=KERNEL_64,
        has_uprobes=True,
        has_kprobes=True,
        has_fast_nops=True,
        lockdown="none",
        cpu_count=2,
        clock_source="tsc",
    )
    return replace(host, **changes)  # type: ignore[arg-type]


def a_binary(codes: dict[str, bytes]) -> Binary:
    functions = {name: Function(name, 16 * at, 16 * at, 16, True) for at, name in enumerate(codes)}
    segments = (_Segment(0, 0, b"".join(codes.values())),)
    return Binary(Path("/usr/bin/qemu"), "EM_X86_64", "ab12", functions, (), False, True, segments)


def a_subject(codes: dict[str, bytes] | None = None, **changes: object) -> Subject:
    codes = dict.fromkeys(sorted(uprobe_symbols(POINTS)), PUSH) | (codes or {})
    kept = {name: code for name, code in codes.items() if code}
    subject = Subject("/usr/bin/qemu-system-x86_64", TargetKind.SYSTEM, a_binary(kept), "7.2.22")
    return replace(subject, **changes)  # type: ignore[arg-type]
