"""bpftrace is run so that it dies with vio, and its refusal is one line."""

import os
import select
import time
from pathlib import Path

import pytest

from vio.errors import HostError
from vio.recorder.bpftrace import Bpftrace, BpftraceOptions, complaint_in, environment


def a_bpftrace(tmp_path: Path, script: str) -> Bpftrace:
    fake = tmp_path / "bpftrace"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    (tmp_path / "p.bt").write_text("BEGIN {}\n")
    return Bpftrace(tmp_path / "p.bt", tmp_path / "log.txt", BpftraceOptions(fake, buffer_pages=64))


def read_all(tracer: Bpftrace) -> bytes:
    found = b""
    while not tracer.is_eof:
        select.select([tracer.fileno()], [], [], 5)
        found += tracer.read()
    return found


def test_a_setting_is_given_by_its_old_and_its_new_name() -> None:
    settings = environment(BpftraceOptions(Path("bpftrace"), 1024, 500))
    assert settings["BPFTRACE_MAP_KEYS_MAX"] == settings["BPFTRACE_MAX_MAP_KEYS"] == "500"
    assert settings["BPFTRACE_PERF_RB_PAGES"] == "1024"


def test_it_runs_in_a_process_group_of_its_own_with_its_settings(tmp_path: Path) -> None:
    with a_bpftrace(tmp_path, 'echo "$BPFTRACE_PERF_RB_PAGES $@"; echo oops >&2; sleep 0.2') as tracer:
        assert os.getpgid(tracer.pid) == tracer.pid
        assert read_all(tracer).split() == [
            b"64",
            b"-q",
            b"-B",
            b"line",
            b"--no-warnings",
            str(tmp_path / "p.bt").encode(),
        ]
        assert tracer.wait(5)
    assert (tmp_path / "log.txt").read_text() == "oops\n"


@pytest.mark.parametrize(
    ("program", "version", "is_empty"),
    [
        ("uprobe:/bin/x:f { @[(uint64)1] = (uint64)arg0; }", (0, 17, 0), True),
        ("uprobe:/bin/x:f { @[(uint64)1] = (uint64)arg0; }", (0, 18, 0), False),
        ("uprobe:/bin/x:f { @[(uint64)1] = (uint64)arg0; }", (), False),
        ("BEGIN { }\ntracepoint:block:block_rq_issue { @ = args->dev; }", (0, 17, 0), False),
        ("kprobe:f { @ = ((struct bio *)arg0)->bi_opf; }", (0, 17, 0), False),
        ("kprobe:f { @ = (uint64)arg0; }", (0, 17, 0), True),
    ],
)
def test_a_program_that_needs_no_types_is_given_none_to_search(
    tmp_path: Path, program: str, version: tuple[int, ...], is_empty: bool
) -> None:
    fake = tmp_path / "bpftrace"
    fake.write_text('#!/bin/sh\necho "types: $(cat "$BPFTRACE_BTF" 2>/dev/null | wc -c)"\n')
    fake.chmod(0o755)
    (tmp_path / "p.bt").write_text(program)
    options = BpftraceOptions(fake, version=version)
    with Bpftrace(tmp_path / "p.bt", tmp_path / "log.txt", options) as tracer:
        assert read_all(tracer) == (b"types: 25\n" if is_empty else b"types: 0\n")


@pytest.mark.parametrize(
    ("version", "given"),
    [((0, 24, 2), b'strncmp(comm, "k", 1) == 0'), ((0, 26, 1), b"(uint64)comm[0] == (uint64)0x6b")],
)
def test_versions_that_miss_strncmps_number_are_given_none(
    tmp_path: Path, version: tuple[int, ...], given: bytes
) -> None:
    fake = tmp_path / "bpftrace"
    fake.write_text('#!/bin/sh\nfor last in "$@"; do :; done; cat "$last"\n')
    fake.chmod(0o755)
    (tmp_path / "p.bt").write_text('BEGIN { if (strncmp(comm, "k", 1) == 0) { exit(); } }\n')
    with Bpftrace(tmp_path / "p.bt", tmp_path / "log.txt", BpftraceOptions(fake, version=version)) as tracer:
        assert given in read_all(tracer)


def test_a_refusal_is_told_in_bpftraces_words(tmp_path: Path) -> None:
    script = "echo 'ERROR: Unknown error -1: couldn'\"'\"'t set RLIMIT_MEMLOCK for bpftrace.' >&2\n"
    script += "printf '\\033[31mp.bt:3:1-9: ERROR: tracepoint not found\\033[0m\\n' >&2; exit 1"
    with a_bpftrace(tmp_path, script) as tracer:
        read_all(tracer)
        error = tracer.failure()
    assert isinstance(error, HostError)
    assert error.message == "bpftrace refused the program: p.bt:3:1-9: ERROR: tracepoint not found"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ""),
        ("ERROR: couldn't set RLIMIT_MEMLOCK\n", ""),
        ("something\nstdin:1: ERROR: syntax error\n  code\n", "stdin:1: ERROR: syntax error"),
        ("terminate called\n", "terminate called"),
    ],
)
def test_the_line_that_names_the_error_is_found(text: str, complaint: str) -> None:
    assert complaint_in(text) == complaint


def test_the_time_that_it_has_worked_is_known_while_it_runs(tmp_path: Path) -> None:
    with a_bpftrace(tmp_path, "while :; do :; done") as tracer:
        time.sleep(0.5)
        assert tracer.used_s() > 0
    assert tracer.used_s() == 0


def test_leaving_the_context_ends_it(tmp_path: Path) -> None:
    with a_bpftrace(tmp_path, "exec sleep 100") as tracer:
        time.sleep(0.2)
    assert not Path(f"/proc/{tracer.pid}").exists()


def test_it_is_asked_again_if_it_slept_over_the_first_signal(tmp_path: Path) -> None:
    script = "trap ':' INT; trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.1; done"
    with a_bpftrace(tmp_path, script) as tracer:
        while not select.select([tracer.fileno()], [], [], 5)[0] or b"ready" not in tracer.read():
            pass
        asks = tracer.asks()
        assert next(asks) > 1
        time.sleep(0.3)
        assert tracer.read() == b""
        assert not tracer.is_eof, "the first was slept over"
        assert next(asks) > 1
        assert read_all(tracer) == b"bye\n"
        assert not list(asks), "it has ended"
