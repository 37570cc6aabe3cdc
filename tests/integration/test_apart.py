"""A guest's file system is read by a process of its own: what it may use is bounded, and its end is an error."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration import disks

from vio.errors import MapError
from vio.mappers.guestfs import apart
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Walked
from vio.mappers.guestfs.ext4 import walk_ext4

MIB = 1 << 20


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Content:
    folder = tmp_path_factory.mktemp("apart")
    (folder / "files").mkdir()
    for number in range(300):
        (folder / "files" / f"näme {number}").write_bytes(bytes(5000))
    disks.run("mkfs.ext4", "-q", "-F", "-d", folder / "files", folder / "volume", "16M")
    data = (folder / "volume").read_bytes()
    return Content(len(data), lambda offset, end: data[offset:end])


def test_it_finds_what_the_same_code_finds_here(volume: Content) -> None:
    found, here = apart.walk_apart("ext4", volume), walk_ext4(volume)
    assert found == here
    assert "/näme 7" in found.paths


def test_a_volume_that_is_none_is_refused_in_the_librarys_words() -> None:
    with pytest.raises(MapError, match="xfs of the guest"):
        apart.walk_apart("xfs", Content(MIB, lambda offset, end: bytes(end - offset)))


def test_its_time_is_bounded(volume: Content) -> None:
    with pytest.raises(MapError, match=r"not read within 0\.05 s"):
        apart.walk_apart("ext4", volume, limit_s=0.05)


def test_its_memory_is_bounded(volume: Content) -> None:
    with pytest.raises(MapError, match="ext4 of the guest"):
        apart.walk_apart("ext4", volume, max_memory=64 * MIB)


def test_an_error_in_reading_the_image_is_the_images(volume: Content) -> None:
    def fails(offset: int, end: int) -> bytes:
        raise MapError("the image is not sound")

    with pytest.raises(MapError, match="not sound"):
        apart.walk_apart("ext4", Content(16 * MIB, fails))


def test_a_child_that_crashes_is_an_error(volume: Content, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(MapError, match="SIGSEGV"):
        apart.walk_apart("ext4", volume)


WALKED = Walked(["/", "/a"], [4096, 8192], [10, 20], [0, 1], [0, 1], 3)
GOOD = apart.pack_answer(WALKED)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        GOOD[:-8],
        b"\xff\xff\xff\x7f" + GOOD[4:],
        GOOD[:-32] + struct.pack("<q", 99) + GOOD[-24:],
        GOOD.replace(b'"rows": 2', b'"rows":-2'),
        GOOD.replace(b'"names": 2', b'"names": 3'),
    ],
    ids=["empty", "cut", "long head", "an owner that is none", "rows", "names"],
)
def test_an_answer_that_makes_no_sense_is_refused(answer: bytes) -> None:
    assert apart._read_answer(GOOD) == WALKED
    with pytest.raises((ValueError, KeyError, TypeError)):
        apart._read_answer(answer)


def test_the_child_is_nobody() -> None:
    if os.geteuid():
        pytest.skip("needs root, to see that it is given up")
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; from vio.mappers.guestfs import child;"
            "child._give_up(9, 4 << 30); print(os.getuid(), os.geteuid())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["65534", "65534"]
