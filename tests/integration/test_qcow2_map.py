"""The qcow2 walk against `qemu-img map` on a matrix of images, and against their content."""

import json
import os
import random
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pytest

from vio.mappers.extent import RangeMap
from vio.mappers.kind import Flag, Kind, name_of
from vio.mappers.qcow2.header import Qcow2Header, read_header
from vio.mappers.qcow2.walk import map_qcow2

KIB, MIB = 1 << 10, 1 << 20
TIMEOUT_S = 60
SECRET = ("--object", "secret,id=key,data=abc")
Said = tuple[int, int, str, int | None]

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img and qemu-io")


@dataclass(frozen=True)
class Case:
    """An image: `qemu-img create -o options`, and the qemu-io commands that fill it."""

    name: str
    options: str
    size: int = 64 * MIB
    commands: tuple[str, ...] = ()
    seed: int = 0
    extra: str = ""

    @property
    def is_encrypted(self) -> bool:
        return "encrypt" in self.options


def writes(unit: int, size: int, seed: int, verbs: tuple[str, ...] = ("write",)) -> tuple[str, ...]:
    """Scatter writes, zeroes, discards over the disk, whole units and parts of them."""
    chance = random.Random(seed)
    commands = []
    for _ in range(60):
        verb = chance.choice(verbs)
        length = chance.randint(1, 5) * unit
        offset = chance.randrange(0, max(size - length, 1) // unit + 1) * unit
        if verb == "write" and chance.random() < 0.3:
            offset += 512
            length = max(512, length - 1024)
        length = min(length, size - offset)
        if length > 0:
            commands.append(f"{verb} {offset} {length}")
    return tuple(commands)


PLAIN = ("write -P 65", "write", "discard", "write -z", "write -z -u")
PACKED = ("write", "write -c -P 66", "write -z", "discard")


def cases() -> list[Case]:
    found = []
    for size, cluster in ((2 * MIB, "512"), (16 * MIB, "4k"), (64 * MIB, "64k"), (512 * MIB, "2M")):
        unit = {"512": 512, "4k": 4 * KIB, "64k": 64 * KIB, "2M": 2 * MIB}[cluster]
        for compat, name in (("0.10", "v2"), ("1.1", "v3")):
            options = f"compat={compat},cluster_size={cluster}"
            found.append(Case(f"{name}-{cluster}", options, size, writes(unit, size, unit, PLAIN)))
            packed = tuple(c for c in writes(unit, size, unit + 1, PACKED) if _fits(c, unit))
            found.append(Case(f"{name}-{cluster}-compressed", options, size, packed))
    for cluster, unit in (("16k", 512), ("64k", 2 * KIB), ("128k", 4 * KIB), ("2M", 64 * KIB)):
        options = f"extended_l2=on,cluster_size={cluster}"
        found.append(Case(f"extl2-{cluster}", options, 64 * MIB, writes(unit, 4 * MIB, unit, PLAIN)))
    packed = tuple(c for c in writes(128 * KIB, 16 * MIB, 5, PACKED) if _fits(c, 128 * KIB))
    mixed = packed + writes(4 * KIB, 16 * MIB, 6, ("write",))
    found.append(Case("extl2-compressed", "extended_l2=on,cluster_size=128k", 16 * MIB, mixed))
    filled = writes(64 * KIB, 64 * MIB, 3, PLAIN)
    found += [
        *(
            Case(f"preallocated-{how}", f"preallocation={how}", commands=filled)
            for how in ("metadata", "falloc", "full")
        ),
        Case("preallocated-extl2", "extended_l2=on,preallocation=metadata", commands=filled),
        Case("data-file", "data_file={dir}/data", commands=filled),
        Case("data-file-raw", "data_file={dir}/data,data_file_raw=on", commands=filled),
        Case("data-file-extl2", "data_file={dir}/data,extended_l2=on", commands=filled),
        Case("lazy-refcounts", "lazy_refcounts=on", commands=filled),
        Case("refcount-bits-1", "refcount_bits=1", commands=filled),
        Case("odd-size", "cluster_size=64k", 10 * MIB + 512, (*filled[:10], f"write {10 * MIB} 512")),
        Case("zstd", "compression_type=zstd", commands=tuple(f"write -c {i * 128}k 64k" for i in range(40))),
        Case("luks", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", commands=filled),
        Case("empty", "cluster_size=64k"),
        Case("no-size", "cluster_size=64k", 0),
        Case("sparse-2T", "cluster_size=64k", 2 << 40, ("write 1T 1M", "write 2199023190016 64k")),
        Case("resized", "cluster_size=4k", 8 * MIB, filled[:20], extra="resize {image} 3G"),
        Case("snapshot", "cluster_size=64k", commands=filled, extra="snapshot -c one {image}"),
        Case("amended", "compat=0.10", commands=filled, extra="amend -f qcow2 -o compat=1.1 {image}"),
    ]
    return found


def _fits(command: str, unit: int) -> bool:
    # A compressed write takes whole clusters only.
    words = command.split()
    return "-c" not in words or all(int(word) % unit == 0 for word in words[-2:])


def make(case: Case, directory: Path) -> Path:
    image = directory / "image.qcow2"
    options = case.options.format(dir=directory)
    secret = SECRET if case.is_encrypted else ()
    qemu_img("create", *secret, "-q", "-f", "qcow2", "-o", options, str(image), str(case.size))
    qemu_io(case, image, case.commands)
    if case.extra:
        qemu_img(*case.extra.format(image=image).split())
        qemu_io(case, image, case.commands[:7])
    return image


def qemu_img(*words: str) -> str:
    for _ in range(5):
        done = subprocess.run(["qemu-img", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        # LUKS: QEMU times its key derivation, and gives up where the kernel counts CPU time coarsely (1 in 60 here).
        if "Unable to get accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def source(case: Case, image: Path) -> list[str]:
    if case.is_encrypted:
        return [*SECRET, "--image-opts", f"driver=qcow2,encrypt.key-secret=key,file.filename={image}"]
    return ["-f", "qcow2", str(image)]


def qemu_io(case: Case, image: Path, commands: tuple[str, ...]) -> None:
    if not commands:
        return
    # Some commands fail, such as a compressed write onto allocated clusters: what is there counts.
    script = "".join(f"{command}\n" for command in commands)
    words = ["qemu-io", "-d", "unmap", *source(case, image)]
    subprocess.run(words, input=script, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def by_qemu(case: Case, image: Path) -> list[Said]:
    rows = json.loads(qemu_img("map", "-U", "--output=json", *source(case, image)))
    said: list[Said] = []
    for row in rows:
        what = "data" if row["data"] else "zero"
        if row["depth"] > 0 or not row["present"]:
            what = "hole"
        offset = row.get("offset") if what != "hole" else None
        said.append((row["start"], row["length"], what, offset))
    return joined(said)


def by_walk(image: Path) -> tuple[RangeMap, Qcow2Header]:
    with image.open("rb") as file:
        header = read_header(file.fileno())
        return map_qcow2(file.fileno(), "guest:disk", "file", header), header


def in_words_of_qemu(ranges: RangeMap) -> list[Said]:
    words = {Kind.MAPPED: "data", Kind.COMPRESSED: "data", Kind.ZERO: "zero", Kind.UNALLOCATED: "hole"}
    said: list[Said] = []
    for start, length, target, _, kind in zip(*(column.tolist() for column in ranges.rows), strict=True):
        what = words[Kind(kind & 0x0F)]
        # qemu-img gives no offset for what it cannot read in place.
        is_told = target >= 0 and what != "hole" and kind & 0x4F in (Kind.MAPPED, Kind.ZERO)
        said.append((start, length, what, target if is_told else None))
    return joined(said)


def joined(said: list[Said]) -> list[Said]:
    """Join neighbours that say the same, so that it does not matter where either side cuts."""

    def line(row: Said) -> tuple[str, int | None]:
        return row[2], None if row[3] is None else row[3] - row[0]

    rows = []
    for (what, _), group in groupby((row for row in said if row[1]), key=line):
        parts = list(group)
        rows.append((parts[0][0], sum(part[1] for part in parts), what, parts[0][3]))
    return rows


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_walk_agrees_with_qemu_img(case: Case, tmp_path: Path) -> None:
    image = make(case, tmp_path)
    ranges, header = by_walk(image)
    assert in_words_of_qemu(ranges) == by_qemu(case, image)
    assert int(ranges.length.sum()) == header.size
    assert header.has_data_file == case.name.startswith("data-file")
    if header.data_file:
        assert header.data_file == str(tmp_path / "data")


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
