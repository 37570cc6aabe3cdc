"""What this host offers to a tracer, asked by presence, never by version."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from vio.recorder.kernelfn import KernelFunctions, read_kernel_functions
from vio.recorder.procfs import HostRoots
from vio.recorder.tracefs import find_tracefs, list_tracepoints

_HOST = HostRoots()
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
# in the lab bpftrace needs tens of seconds to start
_TRIAL_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Bpftrace:
    """The bpftrace that would be run; `version` is () if it did not say."""

    path: Path
    version: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How a small bpftrace program fared; `why` is its own complaint."""

    is_ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried, None where it was not: an empty program, an fentry probe, records left in bpftrace's maps."""

    bpf: Trial | None = None
    fentry: Trial | None = None
    maps: Trial | None = None


@dataclass(frozen=True, slots=True)
class HostFeatures:
    """What was found. `lockdown` is "none", "integrity", "confidentiality" or "unknown".

    `has_fast_nops`: the kernel has the `uprobe` system call, so a uprobe on a 5-byte nop is the cheapest
    (firstinsn.py). `tracepoints` are `category:name`.
    """

    kernel_release: str
    machine: str
    is_root: bool
    capabilities: frozenset[str]
    bpftrace: Bpftrace | None
    has_btf: bool
    tracefs: Path | None
    tracepoints: frozenset[str] = field(repr=False)
    has_uprobes: bool
    has_kprobes: bool
    has_fast_nops: bool
    lockdown: str
    cpu_count: int
    clock_source: str
    kernel: KernelFunctions = field(default_factory=KernelFunctions, repr=False, compare=False)


def read_host(roots: HostRoots = _HOST) -> HostFeatures:
    """Look at the host; runs nothing but `bpftrace --version`."""
    tracefs = find_tracefs(roots)
    has_kprobes = tracefs is not None and _exists(tracefs / "kprobe_events")
    return HostFeatures(
        kernel_release=platform.release(),
        machine=platform.machine(),
        is_root=os.geteuid() == 0,
        capabilities=_capabilities(roots),
        bpftrace=find_bpftrace(),
        has_btf=_exists(roots.sys / "kernel" / "btf" / "vmlinux"),
        tracefs=tracefs,
        tracepoints=list_tracepoints(tracefs) if tracefs else frozenset(),
        has_uprobes=tracefs is not None and _exists(tracefs / "uprobe_events"),
        has_kprobes=has_kprobes,
        has_fast_nops=_has_kernel_symbol(roots, b"__x64_sys_uprobe"),
        lockdown=_lockdown(roots),
        cpu_count=os.cpu_count() or 1,
        clock_source=_read(roots.sys / "devices/system/clocksource/clocksource0/current_clocksource"),
        kernel=read_kernel_functions(roots, tracefs, has_kprobes),
    )


def find_bpftrace() -> Bpftrace | None:
    """Return the bpftrace on the PATH."""
    place = shutil.which("bpftrace")
    if not place:
        return None
    try:
        done = _run([place, "--version"], _TRIAL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return Bpftrace(Path(place), (), "")
    text = done.stdout.strip()
    return Bpftrace(Path(place), parse_version(text), text)


def parse_version(text: str) -> tuple[int, ...]:
    """Parse what `bpftrace --version` prints (`bpftrace v0.17.0`); () if there is no version in it."""
    match = _VERSION.search(text)
    return tuple(int(part) for part in match.groups(default="0")) if match else ()


def try_bpf(bpftrace: Bpftrace) -> Trial:
    """Run an empty program: whether the kernel lets BPF be used at all. Takes about a second."""
    return _try(bpftrace, "BEGIN { exit(); }")


def try_fentry(bpftrace: Bpftrace) -> Trial:
    """Attach an fentry probe (`kfunc:` for all versions) to `vfs_open` and stop. Takes some seconds."""
    return _try(bpftrace, "kfunc:vfs_open { @opened = 1; } BEGIN { exit(); } END { clear(@opened); }")


def _try(bpftrace: Bpftrace, program: str) -> Trial:
    try:
        done = _run([str(bpftrace.path), "-e", program], _TRIAL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Trial(False, f"bpftrace did not end within {_TRIAL_TIMEOUT_S:g} s")
    except OSError as error:
        return Trial(False, f"{bpftrace.path}: {error.strerror}")
    if done.returncode == 0:
        return Trial(True)
    return Trial(False, _complaint(done.stderr) or f"bpftrace ended with {done.returncode}")


def _complaint(text: str) -> str:
    """Return the line that names the error, not the ones that quote the program."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "ERROR" in line or "FATAL" in line]
    # without the right to raise its memory limit bpftrace complains of that first, and goes on
    return (named or lines or [""])[-1]


def _run(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def _capabilities(roots: HostRoots) -> frozenset[str]:
    for line in _read(roots.proc / "self" / "status").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            bits = int(value, 16)
            return frozenset(name for name, bit in _CAPABILITIES.items() if bits >> bit & 1)
    return frozenset()


def _lockdown(roots: HostRoots) -> str:
    match = re.search(r"\[(\w+)\]", _read(roots.sys / "kernel" / "security" / "lockdown"))
    return match.group(1) if match else "unknown"


def _has_kernel_symbol(roots: HostRoots, name: bytes) -> bool:
    try:
        return b" " + name + b"\n" in (roots.proc / "kallsyms").read_bytes()
    except OSError:
        return False


def _read(place: Path) -> str:
    try:
        return place.read_text(errors="replace").strip()
    except OSError:
        return ""


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        return False
