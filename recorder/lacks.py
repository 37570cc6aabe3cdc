"""What a host lacks for a whole recording, what a recording is without it, and what to do. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from vio.recorder.host import HostFeatures, Trial, Trials

OLDEST_BPFTRACE = (0, 17, 0)
_NONE = Trials()
_PRIVILEGES = frozenset({"CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"})


@dataclass(frozen=True, slots=True)
class Lack:
    """One missing thing: `is_fatal` if nothing can be recorded without it."""

    what: str
    without: str
    todo: str
    is_fatal: bool = False


def missing(host: HostFeatures, trials: Trials = _NONE) -> tuple[Lack, ...]:
    """List what is missing, the fatal ones first; a trial that was not made is not judged."""
    found = [
        *_privileges(host),
        *_bpftrace(host, trials.bpf),
        *_maps(trials.maps),
        *_tracing(host),
        *_functions(host, trials.fentry),
    ]
    return tuple(sorted(found, key=lambda lack: not lack.is_fatal))


def _privileges(host: HostFeatures) -> Iterator[Lack]:
    if not host.is_root and "CAP_SYS_ADMIN" not in host.capabilities and not host.capabilities >= _PRIVILEGES:
        yield Lack("root", "nothing can be recorded", "run vio as root (sudo vio ...)", is_fatal=True)


def _bpftrace(host: HostFeatures, bpf: Trial | None) -> Iterator[Lack]:
    if not host.bpftrace:
        yield Lack("bpftrace", "nothing can be recorded", "apt install bpftrace (0.17 or newer)", is_fatal=True)
        return
    if host.bpftrace.version and host.bpftrace.version < OLDEST_BPFTRACE:
        found = ".".join(map(str, host.bpftrace.version))
        yield Lack(
            f"bpftrace 0.17 or newer (found {found})",
            "nothing can be recorded: vio's program is not valid for it",
            "install a newer bpftrace",
            is_fatal=True,
        )
    if bpf and not bpf.is_ok:
        yield Lack(
            f"BPF ({bpf.why})",
            "nothing can be recorded",
            "check that the kernel has CONFIG_BPF_SYSCALL and that no lockdown or container forbids BPF",
            is_fatal=True,
        )


def _maps(maps: Trial | None) -> Iterator[Lack]:
    if maps and not maps.is_ok:
        yield Lack(
            f"records left in bpftrace's maps ({maps.why})",
            "nothing, but each record in QEMU costs the VM about 1.4 us more, as it is printed in a batch",
            "use Linux 5.6 or newer, and a bpftrace from the list in vio's docs/probes.md",
        )


def _tracing(host: HostFeatures) -> Iterator[Lack]:
    if not host.tracefs:
        yield Lack(
            "tracefs",
            "nothing below QEMU's binary: no system calls, no file system, no block layer",
            "mount -t tracefs nodev /sys/kernel/tracing (as root)",
            is_fatal=True,
        )
        return
    if not host.has_uprobes:
        yield Lack("uprobes", "no layer of QEMU", "use a kernel with CONFIG_UPROBE_EVENTS", is_fatal=True)
    for category, without, todo in (
        ("block", "no block layer and no device", "use a kernel with CONFIG_BLOCK and tracepoints"),
        ("syscalls", "no vfs layer", "use a kernel with CONFIG_FTRACE_SYSCALLS"),
    ):
        if host.tracepoints and not any(name.startswith(f"{category}:") for name in host.tracepoints):
            yield Lack(f"tracepoints {category}:*", without, todo)
    if not host.has_btf:
        yield Lack(
            "kernel BTF (/sys/kernel/btf/vmlinux)",
            "no fentry probes, and no reading of kernel structures by field name",
            "use a kernel with CONFIG_DEBUG_INFO_BTF",
        )


def _functions(host: HostFeatures, fentry: Trial | None) -> Iterator[Lack]:
    if not host.has_kprobes and fentry and not fentry.is_ok:
        yield Lack(
            f"kernel functions (no kprobes; fentry: {fentry.why})",
            "points without a tracepoint: OCFS2's direct IO, device mapper's and NVMe's inner functions",
            "use a kernel with CONFIG_KPROBE_EVENTS, or with BTF and without lockdown",
        )
