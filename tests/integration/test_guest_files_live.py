"""`record --guest-files`, then `report --by file`: the files that a real guest touched, on ext4 in a partition."""

import json
import random
import subprocess
from pathlib import Path

import pytest
from lab.disk import Disk
from lab.imagematrix import MIB, qemu_img
from lab.load import Load
from lab.session import record_guest
from lab.targets import TARGETS
from tests.commandline import Vio, vio
from tests.integration import disks

__all__ = ["vio"]
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

FIO = "fio --name=job --ioengine=libaio --direct=1 --iodepth=4 --eta=never --output=/dev/null --overwrite=1"
LOAD = Load(
    "files",
    (
        "mkdir /mnt && mount -t ext4 /dev/vda1 /mnt",
        f"{FIO} --filename=/mnt/db/table --rw=randwrite --bs=4k --size=4m --io_size=256k",
        f"{FIO} --filename=/mnt/db/index --rw=randread --bs=16k --size=2m --io_size=512k",
        "cat /mnt/log/new.txt /mnt/log/old.txt > /mnt/log/both.txt; umount /mnt",
    ),
    ("crc32c_generic", "ext4"),
)


def make_disk(directory: Path) -> Path:
    """Make a qcow2 image with a GUID partition table, in its partition an ext4 with some files."""
    disks.require_tool("sfdisk")
    chance, source, disk = random.Random(2), directory / "files", directory / "disk.raw"
    for name, size in (("db/table", 4 * MIB), ("db/index", 2 * MIB), ("log/new.txt", 30_000), ("log/old.txt", 90_000)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(chance.randbytes(size))
    disks.sparse_file(disk, 66 * MIB)
    subprocess.run(["sfdisk", "-q", str(disk)], input="label: gpt\nsize=64M\n", text=True, check=True, timeout=60)
    disks.run("mkfs.ext4", "-q", "-F", "-d", source, "-E", f"offset={MIB}", disk, "64M")
    image = directory / "disk.qcow2"
    qemu_img("convert", "-O", "qcow2", str(disk), str(image))
    return image


def test_files_are_named_with_the_ios_that_the_guest_did_to_them(vio: Vio, tmp_path: Path) -> None:
    output = tmp_path / "files.vio"
    with TARGETS["root"]() as target:
        record_guest([Disk(make_disk(target.directory))], LOAD, output, options=("--guest-files",))
    code, said, _ = vio("report", str(output), "--by", "file", "--json")
    assert code == 0
    files = {one["name"]: one for one in json.loads(said)["files"]}
    table, index = files["p1:/db/table"], files["p1:/db/index"]
    assert (table["io_count"], table["written_bytes"], table["read_bytes"]) == (64, 64 * 4096, 0)
    assert (index["read_bytes"], index["written_bytes"]) == (512 << 10, 0)
    assert files["p1:/log/old.txt"]["read_bytes"] >= 90_000
    assert files["p1:/log/both.txt"]["written_bytes"] >= 120_000  # made while it was recorded
    assert {"p1:[journal]", "p1:[inode table]", "p1:[superblock and group descriptors]"} <= set(files)
    unknown = files.get("unknown", {"io_count": 0})
    assert unknown["io_count"] < 20, "the partition table and directories' blocks at most"
