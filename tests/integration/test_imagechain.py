"""The other files of an image, as the process that holds them open shows them; images by qemu-img."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vio.errors import VioError
from vio.mappers.images import opened_chain
from vio.mappers.openfile import path_of
from vio.mappers.qcow2.areas import metadata_areas
from vio.mappers.qcow2.header import read_header
from vio.mappers.qcow2.walk import map_qcow2
from vio.mappers.space import file_space
from vio.recorder.disks import Disk
from vio.recorder.heldfiles import held_image
from vio.recorder.imagechain import NOT_FOLLOWED, FoundChain, find_chain
from vio.recorder.imagefile import ProcessFiles
from vio.recorder.maptaker import held_images
from vio.recorder.nodes import ImageChain, resolve
from vio.recorder.procfs import HostRoots, read_mounts, read_open_files
from vio.recorder.target import Target, find_target

MIB = 1 << 20


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    qemu_img("create", "-q", "-f", "raw", tmp_path / "base.img", "4M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", tmp_path / "middle.qcow2")
    middle = json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": str(tmp_path / "middle.qcow2")}})
    qemu_img("create", "-q", "-f", "qcow2", "-b", f"json:{middle}", "-F", "qcow2", tmp_path / "top.qcow2")
    options = f"data_file={tmp_path / 'data.raw'},data_file_raw=on"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, tmp_path / "split.qcow2", "4M")
    return tmp_path


@contextmanager
def held(*paths: Path) -> Iterator[ProcessFiles]:
    """Hold files open, and look at this process as if it were QEMU; the first of them is the image."""
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    process = HostRoots().process(os.getpid())
    try:
        files = sorted((one for one in read_open_files(process) if one.fd in fds), key=lambda one: fds.index(one.fd))
        yield ProcessFiles(process, files, read_mounts(process), HostRoots())
    finally:
        for fd in fds:
            os.close(fd)


def chain_of(where: ProcessFiles, chain: ImageChain | None = None) -> FoundChain:
    return find_chain(where.files[0], "qcow2", chain or ImageChain(), where)


def test_a_chain_of_backing_files_is_followed_by_the_headers(images: Path) -> None:
    with held(images / "top.qcow2", images / "base.img", images / "middle.qcow2") as where:
        found = chain_of(where)
    assert [(file.role, Path(file.path).name, file.format) for file in found.files] == [
        ("backing", "middle.qcow2", "qcow2"),
        ("backing", "base.img", "raw"),
    ]
    assert found.notes == []


def test_an_external_data_file_is_found(images: Path) -> None:
    with held(images / "split.qcow2", images / "data.raw") as where:
        found = chain_of(where)
    assert [(file.role, Path(file.path).name) for file in found.files] == [("data", "data.raw")]


def test_a_file_that_only_the_header_names_is_not_opened(images: Path) -> None:
    with held(images / "top.qcow2", images / "base.img") as where:
        found = chain_of(where)
    assert found.files == []
    assert [note.endswith(NOT_FOLLOWED) for note in found.notes] == [True]
    assert "middle.qcow2" in found.notes[0]


def test_the_options_overrule_the_header(images: Path) -> None:
    backing = {"driver": "raw", "file": {"driver": "file", "filename": str(images / "base.img")}}
    chain = resolve({"driver": "qcow2", "backing": backing, "file": {"driver": "file", "filename": "x"}}, {})
    with held(images / "top.qcow2", images / "base.img", images / "middle.qcow2") as where:
        found = chain_of(where, chain)
        none = chain_of(where, resolve({"driver": "qcow2", "backing": None, "file": {"filename": "x"}}, {}))
    assert [Path(file.path).name for file in found.files] == ["base.img"]
    assert none.files == []
    assert none.notes == []


def test_a_chain_that_comes_back_to_itself_ends(images: Path) -> None:
    names = "-b", images / "top.qcow2", "-F", "qcow2", images / "middle.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", *names, "4M")
    with held(images / "top.qcow2", images / "middle.qcow2") as where:
        found = chain_of(where)
    assert [Path(file.path).name for file in found.files] == ["middle.qcow2"]
    assert len(found.notes) == 1


def disk_of(where: ProcessFiles) -> Disk:
    image = where.files[0]
    return Disk(
        "disk0",
        ("disk0",),
        "",
        "qcow2",
        "file",
        image.path,
        "",
        "",
        True,
        fd=image.fd,
        chain=tuple(chain_of(where).files),
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("top.qcow2", "middle.qcow2", "base.img"), ["top.qcow2", "middle.qcow2", "base.img"]),
        (("top.qcow2", "base.img"), ["top.qcow2"]),
        (("split.qcow2", "data.raw"), ["data.raw"]),
    ],
)
def test_maps_go_by_what_the_process_has_open(images: Path, names: tuple[str, ...], found: list[str]) -> None:
    paths = [images / name for name in names]
    with held(*paths) as where, held_image(disk_of(where), where.process) as image:
        for path in paths:
            path.unlink()  # a name is of no use now
        with opened_chain(image.source) as chain:
            data = [one.data_fd for one in chain if one.data_fd is not None]
            assert [path_of(fd).name for fd in data] == found
            assert any("is not open in the process" in note for note in chain[-1].notes) == (found == ["top.qcow2"])


@pytest.mark.parametrize("options", ["cluster_size=4k", "cluster_size=64k", "cluster_size=64k,extended_l2=on"])
def test_tables_and_data_are_all_that_is_in_an_image(tmp_path: Path, options: str) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, image, "64M")
    writes = [word for at in range(0, 64, 7) for word in ("-c", f"write {at}M 300k")]
    subprocess.run(["qemu-io", *writes, str(image)], check=True, capture_output=True)
    checked = subprocess.run(
        ["qemu-img", "check", "--output=json", str(image)], check=True, capture_output=True, text=True
    )
    end = json.loads(checked.stdout)["image-end-offset"]
    fd = os.open(image, os.O_RDONLY)
    try:
        tables = metadata_areas(fd, read_header(fd), "file").as_map("tables")
        data = map_qcow2(fd, "guest", "file")
    finally:
        os.close(fd)
    is_table, is_data = np.zeros(end, dtype=np.bool_), np.zeros(end, dtype=np.bool_)
    cluster = int(options.split("=")[1].split("k")[0]) * 1024
    for ranges, is_used in ((tables, is_table), (data, is_data)):
        for start, length in zip(ranges.target.tolist(), ranges.length.tolist(), strict=True):
            if start >= 0:
                is_used[start // cluster * cluster : -(-(start + length) // cluster) * cluster] = True
    assert (is_table ^ is_data).all()


def test_what_only_a_header_names_is_mapped_once_a_command_has_it_open(images: Path) -> None:
    # As `vio record -- qemu-io IMAGE` does: the command begins later, and nothing of its chain is known before.
    (images / "base.img").write_bytes(b"x" * 4 * MIB)
    words = ["qemu-io", "-f", "qcow2", str(images / "top.qcow2")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            target = opened_target(process.pid)
            before = replace(target.disks[0], fd=None, fds=(), chain=())
            with held_images(process.pid, [before]) as taker:
                taker.take(5)
                assert [note for note in taker.notes if "middle.qcow2" in note and "not open in the process" in note]
                assert "base.img" not in " ".join(taker.maps.sources())
                taker.follow(target.disks, HostRoots().process(process.pid), 9, 5)
                status = (images / "base.img").stat()
                base = file_space(status.st_dev, status.st_ino)
                assert not [note for note in taker.notes if "not open" in note]
                assert [one.valid_from_ns for one in taker.maps if one.map.source_space == base] == [5]
                ((start, length),) = [
                    (one.map.start.tolist(), one.map.length.tolist())
                    for one in taker.maps
                    if one.map.target_space == base and one.map.source_space.startswith("guest:")
                ]
                assert (start, length) == ([0], [4 * MIB])
                sources = len(taker.maps)
                taker.follow(target.disks, HostRoots().process(process.pid), 12, 5)
                assert len(taker.maps) == sources
        finally:
            process.kill()


def opened_target(pid: int) -> Target:
    deadline_s = time.monotonic() + 20
    while True:
        with contextlib.suppress(VioError):
            target = find_target(pid=pid, with_qmp=False)
            if target.disks and len(target.disks[0].chain) == 2:
                return target
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
