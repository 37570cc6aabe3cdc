"""The qcow2 walk against `qemu-img map` on a matrix of images, and against their content."""

import os
import random
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyqcow
import pytest
from lab.imagematrix import (
    KIB,
    MIB,
    TIMEOUT_S,
    Case,
    by_qemu,
    by_walk,
    cases,
    chain_by_maps,
    chain_by_qemu,
    content_differs_at,
    in_words_of_qemu,
    make,
    make_chain,
    qemu_img,
    qemu_io,
    seeded_cases,
    source,
)

from vio.mappers.imagemap import Visible, map_image
from vio.mappers.images import ImageSource, opened_chain, trust_names
from vio.mappers.kind import Flag, Kind, base_of, name_of

# What libqcow cannot read, or reads wrong: it is no witness of that.
NOT_FOR_LIBQCOW = ("extended_l2", "data_file", "compression_type=zstd", "encrypt", "backing_file")
SEEDS, CHAINS = 50, 12  # `make bench` makes more of both

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img and qemu-io")


def reads_right(case: Case) -> bool:
    return case.size > 0 and not any(word in case.options for word in NOT_FOR_LIBQCOW)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_walk_agrees_with_qemu_img(case: Case, tmp_path: Path) -> None:
    image = make(case, tmp_path)
    ranges, header = by_walk(image)
    assert in_words_of_qemu(ranges) == by_qemu(case, image)
    assert int(ranges.length.sum()) == header.size
    assert header.has_data_file == case.name.startswith("data-file")
    if header.data_file:
        assert header.data_file == str(tmp_path / "data")


@pytest.mark.parametrize("case", list(seeded_cases(SEEDS)), ids=lambda case: case.name)
def test_random_images_agree_with_qemu_img(case: Case, tmp_path: Path) -> None:
    image = make(case, tmp_path)
    assert in_words_of_qemu(by_walk(image)[0]) == by_qemu(case, image)
    assert content_differs_at(image, tmp_path) is None


@pytest.mark.parametrize("seed", range(CHAINS))
def test_chains_agree_with_qemu_img(seed: int, tmp_path: Path) -> None:
    image = make_chain(tmp_path, 2 + seed % 4, seed)
    visible, maps = Visible(), []
    with opened_chain(ImageSource(image, opener=trust_names)) as chain:
        for one in chain:
            maps.append(visible.of(map_image(one, "guest:disk")))
            visible = Visible.below(maps[-1])
    assert chain_by_maps(maps) == chain_by_qemu(image)
    assert content_differs_at(image, tmp_path) is None


def test_snapshot_is_the_disk_as_it_was(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(image), "8M")
    case = Case("", "")
    qemu_io(case, image, ("write -P 1 1M 1M", "write -P 2 4M 128k"))
    qemu_img("convert", "-O", "raw", str(image), str(tmp_path / "then.raw"))
    qemu_img("snapshot", "-c", "before", str(image))
    qemu_img("snapshot", "-c", "and again", str(image))
    qemu_io(case, image, ("write -P 3 1M 64k", "discard 4M 128k", "write -P 5 6M 1M"))
    qemu_img("resize", "-q", str(image), "12M")
    with opened_chain(ImageSource(image, snapshot="before")) as (one,):
        assert one.header is not None
        assert one.header.size == 8 * MIB
        then = map_image(one, "guest:disk")
    with opened_chain(ImageSource(image)) as (one,):
        now = map_image(one, "guest:disk")
    data = image.read_bytes()
    wanted = (tmp_path / "then.raw").read_bytes()
    for start, length, target in zip(then.start.tolist(), then.length.tolist(), then.target.tolist(), strict=True):
        assert wanted[start : start + length] == (data[target : target + length] if target >= 0 else bytes(length))
    # What the snapshot still has is copied before it is written; what was written since is the disk's own.
    kinds = dict(zip(now.start.tolist(), now.kind.tolist(), strict=True))
    assert kinds[MIB] == Kind.MAPPED
    assert kinds[MIB + 64 * KIB] == Kind.MAPPED | Flag.SHARED


def test_matrix_holds_every_kind(tmp_path: Path) -> None:
    kinds: set[str] = set()
    for case in cases():
        if case.name in ("v3-64k", "v3-64k-compressed", "luks", "extl2-128k"):
            directory = tmp_path / case.name
            directory.mkdir()
            kinds |= {name_of(kind) for kind in by_walk(make(case, directory))[0].kind.tolist()}
    assert kinds == {"MAPPED", "ZERO", "UNALLOCATED", "COMPRESSED", "MAPPED|ENCRYPTED"}


def test_overlay_is_mapped_without_its_backing_file(tmp_path: Path) -> None:
    base = make(Case("base", "cluster_size=64k", commands=("write 0 8M",)), tmp_path)
    base = base.rename(tmp_path / "base.qcow2")
    overlay = Case("overlay", f"backing_file={base},backing_fmt=qcow2")
    commands = ("write 1M 256k", "write -z 2M 1M", "discard 4M 1M")
    image = make(Case(overlay.name, overlay.options, commands=commands), tmp_path)
    expected = by_qemu(overlay, image)
    base.unlink()
    ranges, header = by_walk(image)
    assert in_words_of_qemu(ranges) == expected
    assert (header.backing_file, header.backing_format) == (str(base), "qcow2")


@pytest.mark.parametrize("case", [case for case in cases() if reads_right(case)], ids=lambda case: case.name)
def test_libqcow_reads_at_the_guests_address_what_lies_at_the_mapped_one(case: Case, tmp_path: Path) -> None:
    image = make(case, tmp_path)
    ranges, header = by_walk(image)
    witness = pyqcow.file()
    witness.open(str(image))
    data = image.read_bytes()
    assert witness.get_media_size() == header.size
    kinds = base_of(ranges.kind)
    for number in np.flatnonzero(kinds != Kind.COMPRESSED).tolist():
        start, target = int(ranges.start[number]), int(ranges.target[number])
        size = min(int(ranges.length[number]), MIB)
        is_data = kinds[number] == Kind.MAPPED
        expected = data[target : target + size].ljust(size, b"\0") if is_data else bytes(size)
        assert witness.read_buffer_at_offset(size, start) == expected, start
    witness.close()


def unpack_zlib(data: bytes, size: int) -> bytes:
    return zlib.decompressobj(wbits=-12).decompress(data, size)


def unpack_zstd(data: bytes, size: int) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(size))


@pytest.mark.parametrize(("method", "unpack"), [("zlib", unpack_zlib), ("zstd", unpack_zstd)])
def test_compressed_clusters_unpack_at_their_address(
    method: str, unpack: Callable[[bytes, int], bytes], tmp_path: Path
) -> None:
    cluster = 64 * KIB
    content = tmp_path / "content"
    stamps = [random.Random(i).randbytes(KIB) * 64 for i in range(64)]
    content.write_bytes(b"".join(stamps))
    image = tmp_path / "image.qcow2"
    options = f"compression_type={method}"
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, str(content), str(image))
    ranges, _ = by_walk(image)
    assert ranges.kind.tolist() == [Kind.COMPRESSED] * len(stamps)
    with image.open("rb") as file:
        for start, _, target, stored, _ in zip(*(c.tolist() for c in ranges.rows), strict=True):
            # What follows the compressed data in its last sector belongs to the next cluster.
            packed = os.pread(file.fileno(), stored, target)
            assert unpack(packed, cluster) == stamps[start // cluster]


def test_luks_write_changes_the_file_only_where_the_map_says(tmp_path: Path) -> None:
    case = next(case for case in cases() if case.name == "luks")
    image = make(case, tmp_path)
    ranges, _ = by_walk(image)
    mapped = ranges.kind == Kind.MAPPED | Flag.ENCRYPTED
    row = ranges.rows.take(mapped)
    start, target = int(row.start[3]), int(row.target[3])
    before = image.read_bytes()
    qemu_io(case, image, (f"write -P 7 {start + 4096} 8192",))
    after = image.read_bytes()
    changed = [i for i in range(0, len(after), 512) if before[i : i + 512] != after[i : i + 512]]
    assert changed == list(range(target + 4096, target + 4096 + 8192, 512))


def test_image_in_use_is_mapped_after_a_flush(tmp_path: Path) -> None:
    case = Case("live", "cluster_size=64k")
    image = make(case, tmp_path)
    words = ["qemu-io", "-t", "writeback", *source(case, image)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        assert qemu.stdin is not None
        # It tells a pipe nothing before it ends, and takes one command each time that the pipe has news.
        commands = ["write 1M 1M", "flush", "write 5M 64k"]
        deadline = time.monotonic() + TIMEOUT_S
        while mapped_bytes(image) < MIB + 64 * KIB and time.monotonic() < deadline:
            qemu.stdin.write(f"{commands.pop(0) if commands else 'flush'}\n")
            qemu.stdin.flush()
            time.sleep(0.05)
        ranges, _ = by_walk(image)
        assert in_words_of_qemu(ranges) == by_qemu(case, image)
        assert mapped_bytes(image) == MIB + 64 * KIB
        qemu.communicate("quit\n", timeout=TIMEOUT_S)


def mapped_bytes(image: Path) -> int:
    ranges, _ = by_walk(image)
    return int(ranges.length[ranges.kind == Kind.MAPPED].sum())
