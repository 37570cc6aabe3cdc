"""Fixtures of the command line's tests: run it in this process, with a made-up /proc."""

import sys
from functools import partial
from pathlib import Path

import pytest

from vio.__main__ import main
from vio.recorder import aim, subject, target
from vio.recorder.procfs import HostRoots


class Vio:
    """Run main() in this process; its exit code and what it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["vio", *words])
        code = main()
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err


@pytest.fixture
def vio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vio:
    monkeypatch.delenv("VIO_DEBUG", raising=False)
    return Vio(monkeypatch, capsys)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostRoots:
    """Give every command a /proc without QEMU, and a PATH without anything."""
    made = HostRoots(tmp_path / "proc", tmp_path / "sys")
    (made.proc / "self").mkdir(parents=True)
    (made.proc / "self/mountinfo").touch()
    find, enumerate_all = partial(target.find_target, roots=made), partial(target.list_targets, made)
    for module in (target, subject, aim):
        monkeypatch.setattr(module, "find_target", find)
    for module in (target, subject):
        monkeypatch.setattr(module, "list_targets", enumerate_all)
    monkeypatch.setattr(subject, "_LIBEXEC", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return made


def a_process(roots: HostRoots, pid: int, *argv: str, binary: Path | None = None, image: Path | None = None) -> None:
    place = roots.process(pid)
    for directory in ("fd", "fdinfo", "net", f"task/{pid}"):
        (place / directory).mkdir(parents=True)
    program = roots.proc.parent / "qemu-system-x86_64"
    if binary:
        program.symlink_to(binary)
    elif not program.exists():
        program.write_bytes(b"no binary")
    (place / "exe").symlink_to(program)
    (place / "cmdline").write_bytes(b"".join(f"{word}\0".encode() for word in ("qemu-system-x86_64", *argv)))
    for comm in (place / "comm", place / f"task/{pid}/comm"):
        comm.write_text("qemu\n")
    (place / "stat").write_text(f"{pid} (a) S " + " ".join(["0"] * 18) + " 4200 0 0\n")
    (place / "net/unix").write_text("Num\n")
    (place / "mountinfo").touch()
    (place / "root").symlink_to("/")
    if image:
        (place / "fd/9").symlink_to(image)
        (place / "fdinfo/9").write_text("pos:\t0\nflags:\t0100002\nmnt_id:\t1\n")
