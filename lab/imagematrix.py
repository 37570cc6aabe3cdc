"""A matrix of images made by qemu-img and qemu-io, and what `qemu-img map` says of each: the witness of the maps."""

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from vio.mappers.extent import RangeMap
from vio.mappers.guestfs.content import disk_content
from vio.mappers.images import ImageSource, opened_chain, trust_names
from vio.mappers.kind import Kind
from vio.mappers.qcow2.header import Qcow2Header, read_header
from vio.mappers.qcow2.walk import map_qcow2

KIB, MIB = 1 << 10, 1 << 20
TIMEOUT_S = 60
SECRET = ("--object", "secret,id=key,data=abc")
Said = tuple[int, int, str, int | None]
"""Start, length, what is there (data, zero, hole), and its offset in the file where that is told."""


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
        """Tell whether reading it needs the secret."""
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
    """List images of every shape, each once."""
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
    """Make the image of a case."""
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
    """Run qemu-img, which has to succeed; return what it says."""
    for _ in range(5):
        done = subprocess.run(["qemu-img", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        # LUKS: QEMU times its key derivation, and gives up where the kernel counts CPU time coarsely (1 in 60 here).
        if "Unable to get accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def source(case: Case, image: Path) -> list[str]:
    """Say to qemu-img or qemu-io how to open an image."""
    if case.is_encrypted:
        return [*SECRET, "--image-opts", f"driver=qcow2,encrypt.key-secret=key,file.filename={image}"]
    return ["-f", "qcow2", str(image)]


def qemu_io(case: Case, image: Path, commands: tuple[str, ...]) -> None:
    """Run commands of qemu-io on an image."""
    if not commands:
        return
    # Some commands fail, such as a compressed write onto allocated clusters: what is there counts.
    script = "".join(f"{command}\n" for command in commands)
    words = ["qemu-io", "-t", "unsafe", "-d", "unmap", *source(case, image)]
    subprocess.run(words, input=script, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def by_qemu(case: Case, image: Path) -> list[Said]:
    """Say what `qemu-img map` says of an image."""
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
    """Map an image by its tables."""
    with image.open("rb") as file:
        header = read_header(file.fileno())
        return map_qcow2(file.fileno(), "guest:disk", "file", header), header


def in_words_of_qemu(ranges: RangeMap) -> list[Said]:
    """Say of a map what `qemu-img map` would."""
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


SHAPES = (
    ("cluster_size=512", 2 * MIB, 512),
    ("cluster_size=4k", 16 * MIB, 4 * KIB),
    ("cluster_size=64k", 32 * MIB, 64 * KIB),
    ("cluster_size=2M", 128 * MIB, 2 * MIB),
    ("compat=0.10,cluster_size=64k", 32 * MIB, 64 * KIB),
    ("extended_l2=on,cluster_size=16k", 8 * MIB, 512),
    ("extended_l2=on,cluster_size=128k", 32 * MIB, 4 * KIB),
    ("compression_type=zstd,cluster_size=32k", 16 * MIB, 32 * KIB),
    ("preallocation=metadata,cluster_size=64k", 32 * MIB, 64 * KIB),
    ("lazy_refcounts=on,refcount_bits=1", 32 * MIB, 64 * KIB),
)


def seeded_cases(count: int) -> Iterator[Case]:
    """Make random images: each shape in turn, with writes, zeroes, discards and compressed clusters."""
    for seed in range(count):
        options, size, unit = SHAPES[seed % len(SHAPES)]
        # Without some space between them, compressed writes would fail on what is allocated.
        packed = [c for c in writes(unit, size, seed, PACKED) if _fits(c, unit)] if "extended" not in options else []
        most = 4 if unit > MIB else 25
        commands = (*packed[: 2 * most], *writes(unit, size, seed + 10_000, PLAIN)[:most])
        yield Case(f"random-{seed}", options, size, commands)


def make_chain(directory: Path, depth: int, seed: int) -> Path:
    """Make a chain of overlays of random formats and sizes, each written to; return the uppermost."""
    chance = random.Random(seed)
    below: tuple[Path, str] | None = None
    for level in range(depth):
        image_format = "raw" if level == 0 and chance.random() < 0.5 else "qcow2"
        image = directory / f"level{level}.{image_format}"
        size = chance.choice([8, 12, 16]) * MIB + chance.choice([0, 512, 4096])
        named = [] if below is None else ["-b", str(below[0]), "-F", below[1]]
        shape = chance.choice(["cluster_size=4k", "cluster_size=64k", "extended_l2=on,cluster_size=16k"])
        options = ["-o", shape] if image_format == "qcow2" else []
        qemu_img("create", "-q", "-f", image_format, *named, *options, str(image), str(size))
        case = Case("", "", size, writes(4096, size, seed * 10 + level, PLAIN))
        words = ["qemu-io", "-t", "unsafe", "-d", "unmap", "-f", image_format, str(image)]
        script = "".join(f"{command}\n" for command in case.commands)
        subprocess.run(words, input=script, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        below = (image, image_format)
    return directory / f"level{depth - 1}.{below[1] if below else 'raw'}"


def chain_by_qemu(image: Path) -> list[tuple[int, int, int]]:
    """Say for each range of data in which image of the chain (0 the uppermost) it is, joined: start, length, depth."""
    rows = json.loads(qemu_img("map", "-U", "--output=json", str(image)))
    chain = json.loads(qemu_img("info", "-U", "--backing-chain", "--output=json", str(image)))
    # Of a raw file QEMU tells the host's holes too; for the guest these are data like all else.
    raw = {depth for depth, one in enumerate(chain) if one["format"] == "raw"}
    kept = (row for row in rows if row["data"] or (row["depth"] in raw and row["present"]))
    return _runs([(row["start"], row["length"], row["depth"]) for row in kept])


def chain_by_maps(maps: Sequence[RangeMap]) -> list[tuple[int, int, int]]:
    """Say the same by the maps of a chain, uppermost first."""
    rows = [
        (start, length, depth)
        for depth, ranges in enumerate(maps)
        for start, length, kind in zip(ranges.start.tolist(), ranges.length.tolist(), ranges.kind.tolist(), strict=True)
        if kind & 0x0F in (Kind.MAPPED, Kind.COMPRESSED)
    ]
    return _runs(sorted(rows))


def _runs(rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    runs: list[tuple[int, int, int]] = []
    for start, length, depth in rows:
        if runs and runs[-1][2] == depth and sum(runs[-1][:2]) == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + length, depth)
        else:
            runs.append((start, length, depth))
    return runs


def content_differs_at(image: Path, scratch: Path) -> int | None:
    """Compare the guest disk as our maps read it with what qemu-img reads; None where they are the same."""
    raw = scratch / "content.raw"
    qemu_img("convert", "-U", "-O", "raw", str(image), str(raw))
    with opened_chain(ImageSource(image, opener=trust_names)) as chain, raw.open("rb") as file:
        content = disk_content(chain, "guest:disk")
        size = content.get_size()
        for offset in range(0, size, MIB):
            if content.read_at(offset, MIB) != file.read(min(MIB, size - offset)):
                return offset
    return None
