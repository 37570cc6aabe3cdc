"""Make the seeds in tests/fuzz/seeds: disks by their own tools, sectors of zeroes left out."""

import gzip
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.fuzzreaders import READERS, SEEDS, Sparse
from lab.imagematrix import MIB, qemu_img
from vio.mappers.guestfs.lvm import AREA, LABEL, LABEL_TYPE, LOCATION, MDA_HEADER, MDA_MAGIC

_TEXT = SEEDS.parent.parent / "unit" / "test_lvm.py"
_EXT4: dict[str, tuple[str, ...]] = {
    "plain": (),
    "small": ("-b", "1024", "-O", "^extent,^64bit"),
    "meta": ("-O", "meta_bg,^resize_inode"),
}
_QCOW2 = {
    "plain": "cluster_size=4k",
    "old": "compat=0.10,cluster_size=512",
    "extl2": "extended_l2=on,cluster_size=16k",
}
_TABLES = (
    "0 2048 linear 8:0 2048\n2048 4096 striped 2 128 8:0 0 8:16 0\n",
    "0 2048 crypt aes-xts-plain64 :64:logon:key 0 8:0 4096 1 allow_discards\n",
    "0 2048 multipath 1 queue_if_no_path 0 1 1 service-time 0 2 2 8:0 1 1 8:16 1 1\n",
    "0 2048 snapshot 8:0 8:16 P 8\n2048 10 zero\n",
)


def _run(*words: str | Path, text: str = "") -> None:
    subprocess.run([*map(str, words)], input=text, text=True, check=True, capture_output=True, timeout=60)


def _empty(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _disks(folder: Path) -> "list[tuple[str, str, Path]]":
    files = folder / "files" / "d"
    files.mkdir(parents=True)
    for number in range(12):
        (files / f"f{number}").write_bytes(bytes([number]) * 700 * number)
    found = []
    for label in ("gpt", "dos"):
        disk = _empty(folder / label, 20 * MIB)
        extended = "size=4M,type=5\nsize=1M\n\nsize=1M\n" if label == "dos" else "size=1M\n"
        _run("sfdisk", "-q", disk, text=f"label: {label}\nsize=5M\n{extended}")
        found.append(("partitions", label, disk))
    for name, options in (
        ("plain", ()),
        ("small", ("-b", "1024", "-O", "^extent,^64bit")),
        ("meta", ("-O", "meta_bg,^resize_inode")),
    ):
        disk = _empty(folder / f"ext4-{name}", 4 * MIB)
        _run("mkfs.ext4", "-q", "-F", "-N", "32", "-O", "^has_journal", *options, "-d", folder / "files", disk)
        found.append(("ext4", name, disk))
    xfs = _empty(folder / "xfs", 300 * MIB)
    _run("mkfs.xfs", "-q", "-f", xfs)
    ntfs = _empty(folder / "ntfs", 2 * MIB)
    _run("mkntfs", "-q", "-F", "-f", ntfs)
    ocfs2 = _empty(folder / "ocfs2", 300 * MIB)
    _run("mkfs.ocfs2", "-q", "-F", "-M", "local", "--fs-features=local", "-N", "1", "-C", "4K", "-b", "4K", ocfs2)
    found += [("xfs", "plain", xfs), ("ntfs", "plain", ntfs), ("ocfs2", "plain", ocfs2)]
    for name, shape in _QCOW2.items():
        image = folder / f"qcow2-{name}"
        qemu_img("create", "-q", "-f", "qcow2", "-o", shape, str(image), "1M")
        # the content is zeroes, which a seed leaves out
        _run("qemu-io", "-f", "qcow2", image, text="write -P 0 0 64k\nwrite -z 128k 64k\nwrite -P 0 -c 512k 16k\n")
        qemu_img("snapshot", "-c", "one", str(image))
        found.append(("qcow2", name, image))
    return found


def _thin(folder: Path) -> "list[tuple[str, str, Path]]":
    """Give metadata of two volumes, the second a snapshot: a tree of one leaf, and one of two levels."""
    found = []
    for shape, count in (("plain", 9), ("deep", 700)):
        rows = "".join(
            f'<single_mapping origin_block="{2 * n}" data_block="{n}" time="{n % 2}"/>' for n in range(count)
        )
        text = folder / f"thin-{shape}.xml"
        head = f'mapped_blocks="{count}" transaction="0" creation_time="0" snap_time="1"'
        volumes = "".join(f'<device dev_id="{number}" {head}>{rows}</device>' for number in (1, 2))
        text.write_text(
            f'<superblock uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" '
            f'nr_data_blocks="{count}">{volumes}</superblock>'
        )
        metadata = _empty(folder / f"thin-{shape}", MIB)
        _run("thin_restore", "-i", text, "-o", metadata)
        found.append(("thin", shape, metadata))
    return found


def _physical_volume(text: bytes) -> bytes:
    """Lay a physical volume out as lvm2 does: the label in sector 1, the metadata from 4 KiB to 1 MiB."""
    header = b"AAAAAA" + b"a" * 26 + struct.pack("<Q", 20 * MIB) + AREA.pack(MIB, 0) + AREA.pack(0, 0)
    header += AREA.pack(4096, MIB - 4096) + AREA.pack(0, 0)
    label = LABEL + struct.pack("<QII", 1, 0, 32) + LABEL_TYPE + header
    area = MDA_HEADER.pack(0, MDA_MAGIC, 1, 4096, MIB - 4096) + LOCATION.pack(512, len(text), 0, 0)
    whole = bytes(512) + label.ljust(4096 - 512, b"\0") + area.ljust(512, b"\0") + text
    whole += bytes(-len(whole) % 512)
    parts = {n: whole[n * 512 : n * 512 + 512] for n in range(len(whole) // 512)}
    return Sparse(20 * MIB // 512, {n: part for n, part in parts.items() if part.strip(b"\0")}).pack()


def _keep(name: str, shape: str, data: bytes) -> None:
    (SEEDS / name / f"{shape}.gz").write_bytes(gzip.compress(data, mtime=0))


def main() -> int:
    """Make them all again."""
    for name in READERS:
        (SEEDS / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for name, shape, disk in (*_disks(Path(folder)), *_thin(Path(folder))):
            _keep(name, shape, Sparse.of(disk).pack())
    text = _TEXT.read_text().split('"""')[3].replace("\\\\", "\\").encode()
    _keep("lvm-text", "plain", text)
    _keep("lvm", "plain", _physical_volume(text))
    for number, table in enumerate(_TABLES):
        _keep("dm-table", str(number), table.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
