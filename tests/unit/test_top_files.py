"""`vio top --by file`: from sums by process and descriptor to rows, a table and JSON; whose a process is."""

import io
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vio.layer import Op
from vio.recorder.procfs import HostRoots
from vio.recorder.top.filedraw import file_json, file_page
from vio.recorder.top.filefigures import FileFrame, FileRow, OpenedAs, file_frame
from vio.recorder.top.fileform import FLUSH, READ, SUBMIT, WRITE, generate_files, read_key
from vio.recorder.top.filewatch import Descriptors
from vio.recorder.top.snapshot import Snapshot
from vio.recorder.top.whose import container_in
from vio.terminal import render

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECOND = 10**9
DATABASE = OpenedAs("postgres", "docker 0123456789ab", "/var/lib/pg/base/1")
IMAGE = OpenedAs("qemu-kvm", "machine web1", "/images/web1.qcow2", "web1", "vda")
OPENED = {(10, 3): DATABASE, (10, 4): DATABASE, (11, 9): IMAGE, (12, 1): OpenedAs("", "", "")}


def key(pid: int, descriptor: int, op: int) -> tuple[int, int]:
    return pid << 32 | descriptor << 2 | op, 0


def look(pid: int, descriptor: int) -> OpenedAs | None:
    return OPENED.get((pid, descriptor))


def sample() -> FileFrame:
    before = Snapshot(10 * SECOND, {"n": {(0, 0): 1, key(10, 3, READ): 5}, "w": {key(10, 3, READ): 100}})
    numbers = {
        "n": {
            (0, 0): 1,
            key(10, 3, READ): 105,
            key(10, 4, READ): 100,
            key(11, 9, SUBMIT): 40,
            key(12, 1, WRITE): 2,
            key(10, 7, WRITE): 33,
        },
        "w": {key(10, 3, READ): 100 + 10**7, key(10, 4, READ): 10**7, key(12, 1, WRITE): 5000},
        "y": {key(10, 3, READ): 409_600, key(10, 4, READ): 409_600},
        "e": {(99, 0): 11 * SECOND},
        "f": {(99, 0): key(10, 3, FLUSH)[0]},
    }
    return file_frame(before, Snapshot(12 * SECOND, numbers), look)


def test_rows_are_of_processes_and_files() -> None:
    found = sample()
    assert found.others == 33
    assert found.rows == (
        FileRow(10, DATABASE, Op.FLUSH, False, 0, 0, SECOND, 1),
        FileRow(10, DATABASE, Op.READ, False, 200, 819_200, 2 * 10**7, 0),
        FileRow(12, OpenedAs("", "", ""), Op.WRITE, False, 2, 0, 5000, 0),
        FileRow(11, IMAGE, Op.OTHER, True, 40, 0, 0, 0),
    )


def test_a_key_is_read_back() -> None:
    assert read_key(key(4_000_000, 1_000_000, WRITE)[0]) == (4_000_000, 1_000_000, WRITE)


def test_the_table() -> None:
    text = render(file_page(sample(), NOW), io.StringIO())
    assert text.splitlines() == [
        "files, 05:06:07, the last 2.0 s",
        "process   pid  of                   op     calls/s  MiB/s  mean wait  waiting  file",
        "postgres   10  docker 0123456789ab  flush        0      0          -      50%  /var/lib/pg/base/1",
        "postgres   10  docker 0123456789ab  read       100    0.4     100 us       1%  /var/lib/pg/base/1",
        "(ended)    12                       write      1.0      0     2.5 us       0%  (closed)",
        "qemu-kvm   11  VM web1 vda          aio         20      -          -        -  /images/web1.qcow2",
        "33 calls on sockets, pipes and terminals",
    ]


def test_the_rest_of_many_rows_is_counted() -> None:
    assert "3 rows more: --json has all" in render(file_page(sample(), NOW, most=1), io.StringIO())


def test_every_key_of_the_json_is_documented() -> None:
    data = json.loads(json.dumps(file_json(sample(), NOW)))
    assert data["files"][3]["mean_wait_ns"] is None
    assert data["files"][1]["calls_per_s"] == 100
    text = (Path(__file__).parents[2] / "docs" / "top.md").read_text()
    assert not [name for name in (*data, *data["files"][0]) if f"`{name}`" not in text]


def test_the_program_has_the_calls_of_this_kernel() -> None:
    text = generate_files(["read", "fsync", "io_submit", "openat"], 500, None, 77)
    assert "sys_enter_read\n/pid != 77/" in text
    assert "sys_exit_io_submit" not in text
    assert "openat" not in text
    assert "interval:ms:500" in text
    assert "/pid == 5/" in generate_files(["read"], 500, 5, 77)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0::/system.slice/docker-" + "ab" * 32 + ".scope\n", "docker abababababab"),
        ("12:pids:/docker/" + "cd" * 32 + "\n0::/\n", "docker cdcdcdcdcdcd"),
        ("0::/machine.slice/libpod-" + "01" * 32 + ".scope/container\n", "podman 010101010101"),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + "23" * 32 + ".scope\n", "containerd 232323232323"),
        ("0::/machine.slice/machine-qemu\\x2d1\\x2dweb1.scope/libvirt/emulator\n", "machine web1"),
        ("0::/lxc.payload.box/system.slice/cron.service\n", "cron.service"),
        ("0::/lxc.payload.box\n", "lxc box"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_control_groups_have_names(text: str, name: str) -> None:
    assert container_in(text) == name


def test_descriptors_are_asked_of_proc() -> None:
    known = Descriptors(HostRoots())
    with tempfile.NamedTemporaryFile() as file:
        opened = known.look(os.getpid(), file.fileno())
        assert opened
        assert opened.path == file.name
    assert known.look(os.getpid(), 999_999) == OpenedAs(opened.process, opened.container, "")
    assert known.look(2**22 + 1, 0) == OpenedAs("", "", "")
    receiver, sender = os.pipe()
    assert known.look(os.getpid(), receiver) is None
    os.close(receiver)
    os.close(sender)
