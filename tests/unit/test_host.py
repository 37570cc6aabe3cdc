"""Host features from a made-up /proc and /sys, and what is said to be missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from vio.recorder.host import Bpftrace, HostFeatures, Trial, Trials, find_bpftrace, parse_version, read_host, try_bpf
from vio.recorder.lacks import missing
from vio.recorder.procfs import HostRoots
from vio.recorder.tracefs import TracepointField, parse_format, tracepoint_fields

FORMAT = """name: block_rq_issue
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;
\tfield:char rwbs[10];\toffset:34;\tsize:10;\tsigned:0;
\tfield:__data_loc char[] cmd;\toffset:60;\tsize:4;\tsigned:0;
\tfield:struct page *page;\toffset:64;\tsize:8;\tsigned:0;

print fmt: "%d", REC->dev
"""


@pytest.fixture
def roots(tmp_path: Path) -> HostRoots:
    tracefs = tmp_path / "tracing"
    event = tracefs / "events/block/block_rq_issue"
    event.mkdir(parents=True)
    (event / "format").write_text(FORMAT)
    (tracefs / "uprobe_events").touch()
    made = HostRoots(tmp_path / "proc", tmp_path / "sys")
    (made.proc / "self").mkdir(parents=True)
    (made.proc / "self/mountinfo").write_text(f"9 1 0:9 / {tracefs} rw - tracefs nodev rw\n")
    (made.proc / "self/status").write_text("Name:\tx\nCapEff:\t0000000000280000\n")
    (made.proc / "kallsyms").write_text("0000 T __x64_sys_uretprobe\n0000 T __x64_sys_uprobe\n")
    (made.sys / "kernel/security").mkdir(parents=True)
    (made.sys / "kernel/security/lockdown").write_text("none [integrity] confidentiality\n")
    return made


def a_host(roots: HostRoots) -> HostFeatures:
    bpftrace = Bpftrace(Path("/usr/bin/bpftrace"), (0, 17, 0), "bpftrace v0.17.0")
    return replace(read_host(roots), bpftrace=bpftrace, is_root=True, has_btf=True)


def test_what_is_found(roots: HostRoots) -> None:
    host = read_host(roots)
    assert host.tracefs == roots.proc.parent / "tracing"
    assert host.tracepoints == {"block:block_rq_issue"}
    assert (host.has_uprobes, host.has_kprobes, host.has_fast_nops, host.has_btf) == (
        True,
        False,
        True,
        False,
    )
    assert host.capabilities == {"CAP_SYS_PTRACE", "CAP_SYS_ADMIN"}
    assert host.lockdown == "integrity"


def test_a_host_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").touch()
    host = read_host(HostRoots(tmp_path / "proc", tmp_path / "sys"))
    assert (host.tracefs, host.tracepoints, host.lockdown, host.clock_source) == (
        None,
        frozenset(),
        "unknown",
        "",
    )
    assert "mount -t tracefs" in next(lack.todo for lack in missing(host) if lack.what == "tracefs")


def test_fields_of_a_tracepoint(roots: HostRoots) -> None:
    fields = tracepoint_fields(roots.proc.parent / "tracing", "block", "block_rq_issue")
    assert list(fields) == ["common_type", "common_pid", "dev", "rwbs", "cmd", "page"]
    assert fields["common_pid"] == TracepointField(4, 4, True)
    assert fields["rwbs"] == TracepointField(34, 10, False)
    assert tracepoint_fields(roots.proc.parent / "tracing", "block", "none") == {}
    assert parse_format("") == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("bpftrace v0.17.0", (0, 17, 0)),
        ("bpftrace v0.24.2-dirty", (0, 24, 2)),
        ("bpftrace 0.9", (0, 9, 0)),
        ("x", ()),
    ],
)
def test_bpftrace_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_what_is_missing_says_what_to_do(roots: HostRoots) -> None:
    host = a_host(roots)
    assert [lack.what for lack in missing(host)] == ["tracepoints syscalls:*"]
    poor = replace(host, bpftrace=None, is_root=False, capabilities=frozenset(), has_btf=False)
    lacks = missing(poor)
    assert [lack.is_fatal for lack in lacks] == sorted((lack.is_fatal for lack in lacks), reverse=True)
    assert {"root", "bpftrace"} <= {lack.what for lack in lacks}
    assert all(lack.without and lack.todo for lack in lacks)


def test_trials_count_only_if_made(roots: HostRoots) -> None:
    host = a_host(roots)
    refused = Trial(False, "refused")
    assert any(lack.is_fatal for lack in missing(host, Trials(bpf=refused)))
    assert any("fentry: refused" in lack.what for lack in missing(host, Trials(fentry=refused)))
    maps = [lack for lack in missing(host, Trials(maps=refused)) if "maps (refused)" in lack.what]
    assert [lack.is_fatal for lack in maps] == [False]
    assert not any("fentry" in lack.what for lack in missing(replace(host, has_kprobes=True), Trials(fentry=refused)))


def test_an_old_bpftrace_is_refused(roots: HostRoots) -> None:
    old = Bpftrace(Path("/usr/bin/bpftrace"), (0, 16, 0), "bpftrace v0.16.0")
    assert "found 0.16.0" in missing(replace(a_host(roots), bpftrace=old))[0].what


def a_bpftrace(place: Path, script: str) -> Bpftrace:
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)
    return Bpftrace(place, (0, 17, 0), "")


def test_a_trial_keeps_the_complaint_that_counts(tmp_path: Path) -> None:
    failing = a_bpftrace(
        tmp_path / "bpftrace",
        "echo 'ERROR: RLIMIT_MEMLOCK' >&2; echo 'stdin:1: ERROR: no' >&2; echo '~~' >&2; exit 1",
    )
    assert try_bpf(failing) == Trial(False, "stdin:1: ERROR: no")
    assert try_bpf(a_bpftrace(tmp_path / "good", "exit 0")) == Trial(True)
    assert "No such file" in try_bpf(Bpftrace(tmp_path / "none", (), "")).why


def test_bpftrace_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_bpftrace(tmp_path / "bpftrace", "echo bpftrace v0.21.3")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    found = find_bpftrace()
    assert found
    assert found.version == (0, 21, 3)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_bpftrace() is None
