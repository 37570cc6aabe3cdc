"""What a bench puts back between runs, for real: images by `qemu-img` and `cp`, and the page cache."""

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.targets import root_directory

from vio.bencher.image import drop_caches, put_back
from vio.bencher.scenario import Image, Way
from vio.errors import TargetError

_KIB = 1024
_BEFORE, _AFTER = b"\x11", b"\x22"


@pytest.fixture
def place() -> Iterator[Path]:
    with root_directory() as target:
        yield target.directory


def io(image: Path, kind: str, command: str) -> None:
    subprocess.run(("qemu-io", "-f", kind, "-c", command, str(image)), check=True, capture_output=True, timeout=60)


def holds(image: Path, kind: str, pattern: bytes) -> bool:
    words = ("qemu-io", "-f", kind, "-c", f"read -P {pattern[0]} 0 64k", str(image))
    return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("way", "kind", "is_restored"), [(Way.COPY, "raw", True), (Way.OVERLAY, "qcow2", True), (Way.SAME, "raw", False)]
)
def test_a_run_finds_the_source_as_it_was(place: Path, way: Way, kind: str, is_restored: bool) -> None:
    source = place / "source.raw"
    source.write_bytes(_BEFORE * 256 * _KIB)
    image = Image(source=str(source), way=way)
    for _ in range(2):
        made = put_back(image, source, place / "image")
        assert (made == source) is (way is Way.SAME)
    io(made, kind, f"write -P {_AFTER[0]} 0 64k")
    assert holds(made, kind, _AFTER)
    assert (source.read_bytes() == _BEFORE * 256 * _KIB) is is_restored
    assert holds(put_back(image, source, place / "image"), kind, _BEFORE) is is_restored


def test_an_empty_image_is_empty_again(place: Path) -> None:
    image = Image(size="1M", format="qcow2", options="preallocation=metadata")
    made = put_back(image, None, place / "image")
    io(made, "qcow2", f"write -P {_AFTER[0]} 0 64k")
    assert holds(put_back(image, None, place / "image"), "qcow2", b"\0")


@pytest.mark.parametrize("way", list(Way))
def test_a_source_that_is_not_there_is_one_line(place: Path, way: Way) -> None:
    with pytest.raises(TargetError, match="image"):
        put_back(Image(source="gone.raw", way=way), place / "gone.raw", place / "image")


@pytest.mark.live  # the cache is that of the whole machine: other tests must not run meanwhile
def test_what_was_cached_is_read_from_the_device_again(place: Path) -> None:
    file = place / "cached"
    file.write_bytes(_BEFORE * 256 * _KIB)
    assert is_cached(file)
    drop_caches()
    assert not is_cached(file)


def is_cached(file: Path) -> bool:
    """Ask of the first page, without touching it: on a quick device even a read that must not wait may find it read."""
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), mmap.PAGESIZE) as pages:
        first, residence = ctypes.c_char.from_buffer(pages), ctypes.c_ubyte()
        asked = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(mmap.PAGESIZE), ctypes.byref(residence)
        )
        del first
    assert asked == 0, os.strerror(ctypes.get_errno())
    return bool(residence.value & 1)
