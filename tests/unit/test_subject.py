"""Which QEMU is examined."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from vio.errors import TargetError, UsageError
from vio.recorder import subject as module
from vio.recorder.cmdline import TargetKind
from vio.recorder.procfs import HostRoots
from vio.recorder.subject import find_subject
from vio.recorder.target import find_target, list_targets

TRUE = Path(shutil.which("true") or "/bin/true").resolve()


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostRoots:
    """Give the code an empty /proc, and no QEMU on the PATH."""
    made = HostRoots(tmp_path / "proc", tmp_path / "sys")
    (made.proc / "self").mkdir(parents=True)
    monkeypatch.setattr(module, "list_targets", partial(list_targets, made))
    monkeypatch.setattr(module, "find_target", partial(find_target, roots=made))
    monkeypatch.setattr(module, "_LIBEXEC", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return made


def a_process(roots: HostRoots, pid: int, name: str, exe: Path = TRUE, program: str = "qemu-system-x86_64") -> None:
    place = roots.process(pid)
    for directory in ("fd", "fdinfo", "net", f"task/{pid}"):
        (place / directory).mkdir(parents=True)
    # the process's own name for its binary is QEMU's, the file behind it is what the test says
    fake = roots.proc.parent / program
    if not fake.exists():
        fake.symlink_to(exe)
    (place / "exe").symlink_to(fake)
    (place / "cmdline").write_bytes(f"{program}\0-name\0{name}\0".encode())
    (place / "comm").write_text("qemu\n")
    (place / f"task/{pid}/comm").write_text("qemu\n")
    (place / "stat").write_text(f"{pid} (a) S " + " ".join(["0"] * 18) + " 4200 0 0\n")
    (place / "net/unix").write_text("Num\n")
    (place / "mountinfo").touch()


def test_nothing_runs_and_nothing_is_installed(roots: HostRoots) -> None:
    assert find_subject(None, None, None, ["f"]) is None


def test_an_installed_binary_is_read_through_links(roots: HostRoots, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qemu-img").symlink_to(TRUE)
    found = find_subject(None, None, None, ["f"])
    assert found
    assert (found.path, found.kind, found.pid, found.is_chosen) == (str(TRUE), TargetKind.IMG, None, False)


def test_a_running_vm_is_chosen_by_name_or_pid(roots: HostRoots) -> None:
    a_process(roots, 41, "web")
    a_process(roots, 42, "db")
    by_name, by_pid = find_subject("db", None, None, []), find_subject(None, 41, None, [])
    assert by_name
    assert by_pid
    assert (by_name.pid, by_name.is_chosen, by_pid.name) == (42, True, "web")
    unnamed = find_subject(None, None, None, ["f"])
    assert unnamed
    assert (unnamed.pid, unnamed.is_chosen) == (41, False)
    assert "2 QEMU processes run" in unnamed.notes[0]


def test_what_is_not_there(roots: HostRoots) -> None:
    a_process(roots, 41, "web")
    a_process(roots, 42, "web")
    with pytest.raises(TargetError, match="2 VMs are called web: pids 41, 42"):
        find_subject("web", None, None, [])
    with pytest.raises(TargetError, match="no VM is called x"):
        find_subject("x", None, None, [])
    with pytest.raises(TargetError, match="there is no process 9"):
        find_subject(None, 9, None, [])


def test_a_binary_by_its_path(roots: HostRoots, tmp_path: Path) -> None:
    found = find_subject(None, None, TRUE, ["f"])
    assert found
    assert found.is_chosen
    (tmp_path / "text").write_text("no binary")
    with pytest.raises(TargetError, match="not an ELF file"):
        find_subject(None, None, tmp_path / "text", [])
    with pytest.raises(TargetError, match="No such file"):
        find_subject(None, None, tmp_path / "none\n", [])
    with pytest.raises(UsageError):
        find_subject("web", None, TRUE, [])
