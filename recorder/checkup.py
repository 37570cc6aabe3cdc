"""Look at this host for `vio doctor`: read it, try it, choose a QEMU, diagnose."""

from dataclasses import dataclass
from pathlib import Path

from vio.recorder.doctor import Diagnosis, diagnose, uprobe_symbols
from vio.recorder.host import HostFeatures, Trials, read_host, try_bpf, try_fentry
from vio.recorder.lacks import missing
from vio.recorder.maptrial import try_maps
from vio.recorder.probe import load_probes
from vio.recorder.subject import find_subject

PROBES = Path(__file__).parent.parent / "probes"


@dataclass(frozen=True, slots=True)
class CheckupOptions:
    """Which QEMU to examine; with nothing named, one that runs, else one that is installed."""

    vm: str | None = None
    pid: int | None = None
    binary: Path | None = None


def check_up(options: CheckupOptions) -> Diagnosis:
    """Examine this host and one QEMU; takes a second or two, as bpftrace is run.

    Raises:
        TargetError: the QEMU that was named is not there.
        UsageError: more than one was named.
    """
    points = load_probes(PROBES)
    subject = find_subject(options.vm, options.pid, options.binary, uprobe_symbols(points))
    host = read_host()
    return diagnose(host, points, subject, _try_out(host))


def _try_out(host: HostFeatures) -> Trials:
    """Run small programs where nothing forbids it; what is bound to fail would only repeat what is known."""
    if not host.bpftrace or any(lack.is_fatal for lack in missing(host)):
        return Trials()
    bpf = try_bpf(host.bpftrace)
    if not bpf.is_ok:
        return Trials(bpf)
    return Trials(bpf, try_fentry(host.bpftrace) if host.has_btf else None, try_maps(host.bpftrace))
