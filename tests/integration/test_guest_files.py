"""A guest's files from outside: partitions, volumes, file systems made by their own tools; content as the witness."""

import contextlib
import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.imagematrix import MIB, qemu_img
from tests.integration import disks

from vio.errors import MapError, UsageError
from vio.mappers.guestfs.content import Content, disk_content
from vio.mappers.guestfs.ext4 import ext4_areas, walk_ext4
from vio.mappers.guestfs.files import GuestFiles, find_file, read_guest_files
from vio.mappers.guestfs.partition import read_partitions
from vio.mappers.guestfs.volumes import find_volumes
from vio.mappers.guestfs.xfs import walk_xfs, xfs_areas
from vio.mappers.images import ImageSource, opened_chain

SIZE = 320 * MIB


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of many sizes, one with holes, one large."""
    chance, root = random.Random(4), tmp_path_factory.mktemp("files")
    for number in range(8):
        (root / f"d{number}").mkdir()
        for name in range(25):
            (root / f"d{number}" / f"f{name}").write_bytes(chance.randbytes(chance.randint(1, 30_000)))
    (root / "big file").write_bytes(chance.randbytes(6 * MIB))
    with (root / "sparse").open("wb") as file:
        for place in (5, 33, 90):
            file.seek(place * MIB)
            file.write(chance.randbytes(100_000))
    return root


def partitioned(volume: Path, where: Path, label: str = "gpt") -> Path:
    """Put a volume into the second partition of a disk, as qcow2."""
    disks.require_tool("sfdisk")
    disk = disks.sparse_file(where / "disk.raw", SIZE + 30 * MIB)
    script = f"label: {label}\nsize=10M\nsize={SIZE // MIB}M\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=script, text=True, check=True, timeout=60)
    disks.run("dd", f"if={volume}", f"of={disk}", "bs=1M", "seek=11", "conv=notrunc,sparse", "status=none")
    image = where / "disk.qcow2"
    qemu_img("convert", "-c", "-O", "qcow2", str(disk), str(image))
    return image


def make_volume(kind: str, source: Path, where: Path) -> Path:
    disks.require_root("mkfs.xfs", "mkntfs", "ntfs-3g")
    volume = disks.sparse_file(where / "volume", SIZE)
    name, *options = kind.split()
    if name == "ext4":
        disks.run("mkfs.ext4", "-q", "-F", "-d", source, *options, volume)
    elif name == "xfs":
        disks.run("mkfs.xfs", "-q", "-f", *options, volume)
        with disks.loop_device(volume) as loop, disks.mounted(loop, "xfs") as root:
            disks.run("cp", "-r", "--sparse=always", f"{source}/.", root)
            disks.run("fallocate", "-l", "3M", root / "unwritten")
    else:
        disks.run("mkntfs", "-q", "-F", "-f", volume)
        with disks.loop_device(volume) as loop:
            if not Path("/dev/fuse").exists():
                pytest.skip("needs FUSE to fill NTFS")
            root = where / "root"
            root.mkdir()
            # after umount it writes on for a while: its end is the end of that
            with subprocess.Popen(["ntfs-3g", "-o", "no_detach", str(loop), str(root)]) as writer:
                while not root.is_mount():
                    assert writer.poll() is None
                    time.sleep(0.05)
                try:
                    disks.run("cp", "-r", f"{source}/.", root)
                finally:
                    disks.run("umount", root)
    return volume


def opened(image: Path) -> Iterator[tuple[Content, GuestFiles]]:
    with opened_chain(ImageSource(image)) as chain:
        yield disk_content(chain, "guest:disk"), read_guest_files(chain, "guest:disk")


@pytest.mark.parametrize(
    "kind",
    [
        "ext4",
        "ext4 -b 1024",
        "ext4 -O ^extent,^64bit",
        "ext4 -O meta_bg,^resize_inode",
        "ext4 -O bigalloc -C 65536",
        "ext4 -O inline_data -I 512",
        "ext4 -O ^has_journal",
        "xfs -d agcount=3",
        "xfs -m rmapbt=1 -d agcount=3",
        "ntfs",
    ],
)
def test_every_file_is_where_the_map_says(kind: str, source: Path, tmp_path: Path) -> None:
    image = partitioned(make_volume(kind, source, tmp_path), tmp_path)
    for content, files in opened(image):
        seen = 0
        for path in (path for path in source.rglob("*") if path.is_file()):
            name = f"p2:/{path.relative_to(source)}"
            if path.stat().st_size < 2000:
                continue  # may be inside its inode
            mine = files.ranges.of_owner(name)
            wanted = path.read_bytes()
            found = bytearray(len(wanted))
            for start, length, offset in zip(
                mine.start.tolist(), mine.length.tolist(), mine.offset.tolist(), strict=True
            ):
                found[offset : offset + length] = content.read_at(start, min(length, len(wanted) - offset))
            assert hashlib.sha256(found).digest() == hashlib.sha256(wanted).digest(), name
            seen += 1
        assert seen > 100
        names = set(files.ranges.names)
        if kind.startswith("xfs"):
            assert {"p2:[log]", "p2:[inodes]", "p2:[allocation group headers]", "p2:/unwritten"} <= names
            assert len(files.ranges.of_owner("p2:/unwritten")) > 0
        elif kind.startswith("ext4"):
            assert ("p2:[journal]" in names) == ("^has_journal" not in kind)
            assert {"p2:[inode table]", "p2:[block bitmap]"} <= names
        else:
            assert "p2:/$MFT" in names
        with pytest.raises(UsageError, match=r"its volumes: p1 \(unknown\), p2"):
            find_file(files, "/not/there")
        assert len(find_file(files, "/d3/f4")) == len(files.ranges.of_owner("p2:/d3/f4"))


def test_ext4_metadata_is_where_dumpe2fs_has_it(source: Path, tmp_path: Path) -> None:
    disks.require_tool("dumpe2fs")
    volume = make_volume("ext4 -b 1024 -g 4096", source, tmp_path)
    said = disks.run("dumpe2fs", volume)
    with opened_chain(ImageSource(volume, "raw")) as chain:
        areas = ext4_areas(disk_content(chain, "guest:disk"))
    for name, text in (
        ("[block bitmap]", "Block bitmap at "),
        ("[inode bitmap]", "Inode bitmap at "),
        ("[inode table]", "Inode table at "),
    ):
        theirs = sorted(int(part.split()[0].split("-")[0].rstrip(",")) for part in said.split(text)[1:])
        ours = sorted(int(place) // 1024 for one, places, _ in areas if one == name for place in places)
        assert ours == theirs, name


LVM_SCRIPT = """
lvm pvcreate --config "$C" -ff -y ${L}p1 ${L}p2
lvm vgcreate --config "$C" vio_test ${L}p1 ${L}p2
lvm lvcreate --config "$C" -an -Zn -Wn -n lin -L 40M vio_test
lvm lvcreate --config "$C" -an -Zn -Wn -n gap -L 20M vio_test
lvm lvextend --config "$C" -L 80M vio_test/lin
lvm lvcreate --config "$C" -an -Zn -Wn -n str -i2 -I64k -L 48M vio_test
"""


def test_logical_volumes_are_where_lvm_has_them(tmp_path: Path) -> None:
    disks.require_root("lvm", "sfdisk", "partx")
    disk = disks.sparse_file(tmp_path / "disk.raw", 401 * MIB)
    script = "label: dos\nsize=200M\nsize=199M\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=script, text=True, check=True, timeout=60)
    with disks.loop_device(disk, partscan=True) as loop:
        config = (
            f'devices{{scan=["/dev"] use_devicesfile=0 global_filter=["a|{loop}|","r|.*|"] types=["blkext",16]}}'
            "global{activation=0} backup{backup=0 archive=0} activation{udev_sync=0 udev_rules=0}"
        )
        quiet = {"LVM_SUPPRESS_FD_WARNINGS": "1", "DM_DISABLE_UDEV": "1", "C": config, "L": str(loop)}
        words = ["sh", "-ec", LVM_SCRIPT]
        subprocess.run(words, env=os.environ | quiet, check=True, capture_output=True, timeout=60)
    mib = 1 << 20
    with opened_chain(ImageSource(disk, "raw")) as chain:
        volumes, notes = find_volumes(disk_content(chain, "guest:disk"), "guest:disk")
    found = {one.name: one for one in volumes}
    assert notes == ()
    assert [found[name].holds for name in ("p1", "p2")] == ["LVM", "LVM"]
    # Extents of 4 MiB from 1 MiB of each partition on, in the order of creation: lin, gap, the rest of lin, str.
    assert found["vio_test/lin"].ranges.target.tolist() == [2 * mib, 62 * mib]
    assert found["vio_test/gap"].ranges.target.tolist() == [42 * mib]
    stripes = found["vio_test/str"].ranges
    assert set(stripes.length.tolist()) == {65536}
    assert stripes.target.tolist()[:3] == [102 * mib, 202 * mib, 102 * mib + 65536]


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_partitions_are_those_of_sfdisk(label: str, tmp_path: Path) -> None:
    disks.require_tool("sfdisk")
    disk = disks.sparse_file(tmp_path / "disk.raw", 100 * MIB)
    more = "size=40M,type=5\nsize=10M\n\nsize=4M\nsize=3M\n" if label == "dos" else "size=1M\n"
    script = f"label: {label}\nsize=5M\nsize=7M\n{more}"
    subprocess.run(["sfdisk", "-q", str(disk)], input=script, text=True, check=True, timeout=60, capture_output=True)
    theirs = []
    for line in disks.run("sfdisk", "--dump", disk).splitlines():
        if "start=" in line and "type=5" not in line:
            fields = dict(part.strip().split("=") for part in line.partition(" : ")[2].split(",") if "=" in part)
            number = int(line.split(" :")[0].strip().removeprefix(str(disk)))
            theirs.append((number, int(fields["start"]) * 512, int(fields["size"]) * 512))
    with opened_chain(ImageSource(disk, "raw")) as chain:
        ours = [(one.number, one.start, one.size) for one in read_partitions(disk_content(chain, "guest:disk"))]
    assert ours == theirs


READERS: dict[str, tuple[Callable[[Content], object], ...]] = {
    "ext4": (walk_ext4, ext4_areas),
    "xfs -d agcount=4": (walk_xfs, xfs_areas),
}


@pytest.mark.parametrize("kind", READERS)
def test_damaged_file_systems_are_read_or_refused(kind: str, source: Path, tmp_path: Path) -> None:
    volume = make_volume(kind, source, tmp_path)
    chance = random.Random(kind)
    with opened_chain(ImageSource(volume, "raw")) as chain:
        sound = disk_content(chain, "guest:disk")
        for _ in range(25):
            patches = {chance.randrange(200_000): chance.randrange(256) for _ in range(60)}

            def read(offset: int, end: int, patches: dict[int, int] = patches) -> bytes:
                data = bytearray(sound.read_at(offset, end - offset))
                for place, value in patches.items():
                    if offset <= place < end:
                        data[place - offset] = value
                return bytes(data)

            for reader in READERS[kind]:
                with contextlib.suppress(MapError):
                    reader(Content(SIZE, read))
