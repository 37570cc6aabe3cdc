"""What `vio record` says and exits with when it cannot record, and how it ends."""

import sys
from pathlib import Path

import pytest
from tests.commandline import Vio, a_process, roots, vio
from tests.hosts import a_host

from vio.errors import ExitCode, OutputError
from vio.manifest import Cost, Counts, EndReason, LossTotals, State
from vio.recorder import record
from vio.recorder.host import Bpftrace, HostFeatures
from vio.recorder.procfs import HostRoots
from vio.recorder.summary import RecordSummary

__all__ = ["roots", "vio"]
OLD = Bpftrace(Path("/usr/bin/bpftrace"), (0, 16, 0), "bpftrace v0.16.0")
DRIVE = ("-name", "web", "-drive")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, a_host())


def use(monkeypatch: pytest.MonkeyPatch, features: HostFeatures) -> None:
    monkeypatch.setattr(record, "read_host", lambda: features)


def refused(vio: Vio, output: Path, *words: str) -> tuple[int, str]:
    code, out, err = vio("record", "-o", str(output), *words)
    assert out == ""
    assert err.startswith("vio: ")
    assert err.count("\n") == 1
    assert not output.exists()
    return code, err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_root": False, "capabilities": frozenset()}, "root is missing: run vio as root (sudo vio ...)"),
        ({"bpftrace": None}, "bpftrace is missing: apt install bpftrace"),
        ({"bpftrace": OLD}, "bpftrace 0.17 or newer (found 0.16.0) is missing: install a newer bpftrace"),
        ({"tracefs": None, "tracepoints": frozenset()}, "tracefs is missing: mount -t tracefs"),
    ],
)
def test_hosts_that_cannot_record(
    vio: Vio, roots: HostRoots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], said: str
) -> None:
    use(monkeypatch, a_host(**changes))
    code, err = refused(vio, tmp_path / "x.vio", "--vm", "web")
    assert code == ExitCode.HOST
    assert said in err


def test_bpftrace_that_is_not_on_the_path(vio: Vio, roots: HostRoots, tmp_path: Path) -> None:
    code, _ = refused(vio, tmp_path / "x.vio", "--vm", "web")
    assert code == ExitCode.HOST


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "more than one QEMU process is running: choose with --vm or --pid: web (pid 41), web (pid 42)"),
        (["--vm", "nobody"], "no VM is called nobody"),
        (["--vm", "web"], "2 VMs are called web: pids 41, 42: choose with --pid"),
        (["--pid", "9"], "there is no process 9"),
        (["--pid", "41"], "web (pid 41) has no disk that can be followed: vhost-user-blk-pci#0: another process"),
        (["--", "no-such-command"], "there is no command no-such-command"),
    ],
)
def test_targets_that_cannot_be_recorded(
    vio: Vio, roots: HostRoots, tmp_path: Path, words: list[str], said: str
) -> None:
    for pid in (41, 42):
        a_process(
            roots, pid, "-name", "web", "-chardev", "socket,id=c,path=/s", "-device", "vhost-user-blk-pci,chardev=c"
        )
    code, err = refused(vio, tmp_path / "x.vio", *words)
    assert code == ExitCode.TARGET
    assert said in err


@pytest.mark.usefixtures("host")
def test_a_vm_with_vfio_only(vio: Vio, roots: HostRoots, tmp_path: Path) -> None:
    a_process(roots, 41, "-name", "web", "-device", "vfio-pci,host=0000:01:00.0")
    code, err = refused(vio, tmp_path / "x.vio", "--vm", "web")
    assert code == ExitCode.TARGET
    assert "web (pid 41) has no disk that can be followed: " in err
    assert "vfio" in err


@pytest.mark.usefixtures("host")
def test_a_qemu_without_symbols(vio: Vio, roots: HostRoots, tmp_path: Path) -> None:
    image = tmp_path / "web.img"
    image.write_bytes(bytes(4096))
    drive = f"file={image},format=raw,if=virtio,id=d0"
    a_process(roots, 41, *DRIVE, drive, binary=Path(sys.executable).resolve(), image=image)
    code, err = refused(vio, tmp_path / "x.vio", "--vm", "web")
    assert code == ExitCode.TARGET
    assert "lacks the functions that vio observes: `vio doctor`" in err


@pytest.mark.usefixtures("host")
def test_outputs_that_are_in_the_way(vio: Vio, roots: HostRoots, tmp_path: Path) -> None:
    taken = tmp_path / "taken.vio"
    taken.mkdir()
    (taken / "file").touch()
    code, _, err = vio("record", "-o", str(taken), "--vm", "web")
    assert code == ExitCode.OUTPUT
    assert "--force" in err
    assert (taken / "file").exists()
    code, _, err = vio("record", "-o", "/proc/none/x.vio", "--vm", "web")
    assert code in (ExitCode.OUTPUT, ExitCode.TARGET)


def a_summary(reason: EndReason, detail: str = "", exit_code: int | None = None) -> RecordSummary:
    state = State.CUT if reason is EndReason.BPFTRACE_ENDED else State.COMPLETE
    counts = Counts(rows=1234, in_kernel=1234, unaccounted=0)
    return RecordSummary(Path("a\x1b.vio"), state, reason, detail, 1.5, counts, LossTotals(), Cost(), exit_code)


@pytest.mark.parametrize(
    ("summary", "code", "said"),
    [
        (a_summary(EndReason.STOPPED, "by SIGINT"), 0, ""),
        (a_summary(EndReason.DURATION), 0, ""),
        (a_summary(EndReason.TARGET_ENDED), 0, ""),
        (a_summary(EndReason.COMMAND_ENDED, exit_code=0), 0, ""),
        (a_summary(EndReason.COMMAND_ENDED, exit_code=7), ExitCode.FAILED, "the command ended with exit code 7"),
        (a_summary(EndReason.BPFTRACE_ENDED, "signal 9"), ExitCode.HOST, "bpftrace ended before it was asked to"),
    ],
)
def test_how_a_recording_ends(
    vio: Vio, monkeypatch: pytest.MonkeyPatch, summary: RecordSummary, code: int, said: str
) -> None:
    monkeypatch.setattr(record, "record", lambda *_: summary)
    ended, out, err = vio("record", "--vm", "web")
    assert ended == code
    assert out.startswith("a\\x1b.vio: 1,234 events in 1.5 s; ")
    assert out.endswith("; next: vio report $'a\\x1b.vio'\n")
    assert out.count("\n") == 1
    assert said in err


def test_an_output_that_fills_up(vio: Vio, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> RecordSummary:
        raise OutputError("x.vio cannot be written: No space left on device", "12 events written before are readable")

    monkeypatch.setattr(record, "record", fail)
    code, out, err = vio("record", "--vm", "web")
    assert (code, out) == (ExitCode.OUTPUT, "")
    assert err == "vio: x.vio cannot be written: No space left on device: 12 events written before are readable\n"


def test_what_was_typed_arrives(vio: Vio, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[record.RecordOptions] = []

    def note(options: record.RecordOptions, _: object) -> RecordSummary:
        seen.append(options)
        return a_summary(EndReason.DURATION)

    monkeypatch.setattr(record, "record", note)
    assert vio("record", "--pid", "7", "--disk", "a", "--disk", "b", "--duration", "2m", "--force", "--plain")[0] == 0
    assert vio("record", "-o", "b.vio", "--buffer-pages", "64", "--", "qemu-img", "bench", "--", "-c")[0] == 0
    first, second = seen
    assert (first.pid, first.disks, first.duration_s, first.force, first.is_plain) == (7, ("a", "b"), 120, True, True)
    assert first.output == Path("recording.vio")
    assert (second.output, second.buffer_pages, second.duration_s) == (Path("b.vio"), 64, None)
    assert second.command == ("qemu-img", "bench", "--", "-c")
