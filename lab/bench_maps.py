"""Maps: how fast they are made and asked, and on how many images they agree with their witnesses."""

import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lab.filematrix import SHAPES, check_files
from lab.imagematrix import (
    MIB,
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
    seeded_cases,
)
from lab.ocfs2files import SHAPES as OCFS2_SHAPES
from lab.ocfs2files import check_ocfs2
from vio.mappers.compose import compose
from vio.mappers.extent import RangeMap
from vio.mappers.guestfs.files import read_guest_files
from vio.mappers.imagemap import Visible, map_image
from vio.mappers.images import ImageSource, opened_chain, trust_names
from vio.mappers.qcow2.header import read_header
from vio.mappers.qcow2.walk import map_qcow2, walk
from vio.mappers.totals import Totals

CLUSTER = 1 << 16
GIB = 1 << 30
RUNS = 3
_PROBE = """
import re, sys
from lab.bench_maps import walk_totals, map_whole
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
{"walk": walk_totals, "map": map_whole}[sys.argv[1]](Path(sys.argv[2]))
print(peak() - before)
"""


def run() -> str:
    """Measure, and return a section of Markdown; the images need 1 GiB in /var/tmp."""
    with tempfile.TemporaryDirectory(prefix="vio-maps-", dir="/var/tmp") as folder:
        lines = [*_walks(Path(folder)), *_against_qemu(Path(folder)), *_algebra(), *_guest(Path(folder))]
    with tempfile.TemporaryDirectory(prefix="vio-maps-") as folder:
        lines += [_matrix(Path(folder)), _files(), _ocfs2(Path(folder))]
    return "\n".join(f"- {line}" for line in lines)


def synthesize(path: Path, size: int, used: int, is_shuffled: bool = True, seed: int = 1) -> Path:
    """Make an image with `used` clusters of 64 KiB in random places, both in the guest and in the (sparse) file."""
    qemu_img("create", "-q", "-f", "qcow2", str(path), str(size))
    chance = np.random.default_rng(seed)
    total, per_table = size // CLUSTER, CLUSTER // 8
    guest = np.sort(chance.choice(total, used, replace=False)) if used < total else np.arange(total)
    with path.open("r+b") as file:
        header = read_header(file.fileno())
        first = 4 + -(-header.l1_entries * 8 // CLUSTER)
        tables = np.unique(guest // per_table)
        data = first + len(tables)
        host = (data + (chance.permutation(used) if is_shuffled else np.arange(used))).astype(np.uint64) * CLUSTER
        l1 = np.zeros(header.l1_entries, dtype=">u8")
        l1[tables] = (np.arange(first, data, dtype=np.uint64) * CLUSTER) | np.uint64(1 << 63)
        file.seek(header.l1_table_offset)
        file.write(l1.tobytes())
        edges = np.searchsorted(guest, np.append(tables, tables[-1] + 1) * per_table)
        for number, table in enumerate(tables.tolist()):
            entries = np.zeros(per_table, dtype=">u8")
            mine = slice(edges[number], edges[number + 1])
            entries[guest[mine] - table * per_table] = host[mine] | np.uint64(1 << 63)
            file.seek((first + number) * CLUSTER)
            file.write(entries.tobytes())
        file.truncate((data + used) * CLUSTER)
    return path


def walk_totals(path: Path) -> Totals:
    """Walk an image for its totals, keeping nothing, as `vio map IMAGE` does."""
    with path.open("rb") as file:
        header = read_header(file.fileno())
        return Totals.of(walk(file.fileno(), header), header.size)


def map_whole(path: Path) -> RangeMap:
    """Make the whole map of an image."""
    with path.open("rb") as file:
        return map_qcow2(file.fileno(), "guest:disk", "file")


def _walk_only(path: Path) -> int:
    with path.open("rb") as file:
        return sum(len(rows.start) for rows in walk(file.fileno(), read_header(file.fileno())))


def _timed(work: Callable[[], object], runs: int = RUNS) -> float:
    """Give the least CPU time in seconds that the work took: others may run on the machine."""
    found = []
    for _ in range(runs):
        before = _cpu_s()
        work()
        found.append(_cpu_s() - before)
    return min(found)


def _cpu_s() -> float:
    """Return the CPU seconds of this process and its children: guests' file systems are read in one."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_bytes(what: str, path: Path) -> int:
    words = [sys.executable, "-c", _PROBE, what, str(path)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def _walks(folder: Path) -> list[str]:
    lines = []
    for name, size in (("100 GiB", 100 * GIB), ("2 TiB", 2048 * GIB)):
        path = synthesize(folder / "image.qcow2", size, size // CLUSTER)
        count = size // CLUSTER
        walked, totals, whole = (_timed(partial(work, path)) for work in (_walk_only, walk_totals, map_whole))
        peaks = {what: _peak_bytes(what, path) / count for what in ("walk", "map")}
        lines.append(
            f"{name}, every one of {count / 1e6:.1f} million clusters in a random place: walk {walked:.2f} s"
            f" ({count / walked / 1e6:.0f} million/s), totals {totals:.2f} s with {peaks['walk']:.1f} bytes a cluster"
            f" at the peak, a whole map {whole:.2f} s with {peaks['map']:.0f}"
        )
        path.unlink()
    return lines


def _against_qemu(folder: Path) -> list[str]:
    path = synthesize(folder / "image.qcow2", 100 * GIB, 200_000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = qemu_img("map", "-U", "--output=json", str(path))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + _timed(lambda: json.loads(answer))
    walked, ours = _timed(lambda: _walk_only(path), 5), _timed(lambda: map_whole(path), 5)
    rows = len(json.loads(answer))
    path.unlink()
    return [
        f"100 GiB, 200,000 clusters in random places: walk {walked * 1000:.0f} ms, map with all holes"
        f" {ours * 1000:.0f} ms; `qemu-img map --output=json` and parsing its {rows:,} rows {theirs * 1000:.0f} ms"
        f" of CPU: {theirs / walked:.0f} and {theirs / ours:.0f} times as long"
    ]


def _algebra() -> list[str]:
    chance = np.random.default_rng(3)
    count, extents, size = 200_000, 100_000, 100 * GIB
    upper = RangeMap.of(
        "guest:disk",
        "file",
        np.sort(chance.choice(size // CLUSTER, count, replace=False)) * CLUSTER,
        CLUSTER,
        chance.permutation(count) * CLUSTER,
    )
    length = count * CLUSTER // extents // 4096 * 4096
    lower = RangeMap.of("file", "dev", np.arange(extents) * length, length, chance.permutation(extents) * 2 * length)
    composed = compose(upper, lower)
    asked = chance.integers(0, size, 1_000_000)

    def ask() -> None:
        compose(upper, lower).locate(asked)

    return [
        f"{count:,} clusters upon {extents:,} extents: composed in {_timed(lambda: compose(upper, lower)):.2f} s,"
        f" {len(composed):,} rows; with a million random addresses looked up, {_timed(ask):.2f} s"
    ]


def _guest(folder: Path) -> list[str]:
    source, image = folder / "files", folder / "ext4.img"
    for number in range(100):
        (source / f"d{number}").mkdir(parents=True)
        for name in range(200):
            (source / f"d{number}" / f"f{name}").write_bytes(bytes(name * 100))
    subprocess.run(["truncate", "-s", "2G", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(source), str(image)], check=True)
    packed = folder / "ext4.qcow2"
    qemu_img("convert", "-O", "qcow2", str(image), str(packed))

    def read() -> int:
        with opened_chain(ImageSource(packed)) as chain:
            return len(read_guest_files(chain, "guest:disk").ranges.names)

    return [f"a guest's ext4 with {read():,} files and directories in qcow2: walked in {_timed(read):.2f} s"]


def _matrix(folder: Path, seeds: int = 150, chains: int = 50) -> str:
    """Make all images of the matrix, and count those on which map and witness differ."""
    count, different = 0, []
    for case in [*cases(), *seeded_cases(seeds)]:
        place = folder / str(count)
        place.mkdir()
        image = make(case, place)
        is_same = in_words_of_qemu(by_walk(image)[0]) == by_qemu(case, image)
        if not (is_same and (case.is_encrypted or case.size > GIB or content_differs_at(image, place) is None)):
            different.append(case.name)
        count += 1
        for file in place.iterdir():
            file.unlink()
    for seed in range(chains):
        place = folder / f"chain{seed}"
        place.mkdir()
        image = make_chain(place, random.Random(seed).randint(2, 6), seed)
        if chain_by_maps(_chain_maps(image)) != chain_by_qemu(image) or content_differs_at(image, place) is not None:
            different.append(place.name)
        count += 1
        for file in place.iterdir():
            file.unlink()
    said = f": {', '.join(different)}" if different else ""
    return (
        f"{count} images against `qemu-img map`, and their content as read by the map against `qemu-img convert`:"
        f" {len(different)} differ{said}"
    )


def _files() -> str:
    count, size, different = check_files()
    said = f": {', '.join(different)}" if different else ""
    return (
        f"{count} files on {len(SHAPES)} sorts of ext4, xfs and btrfs, their bytes read at the devices' addresses"
        f" ({size / MIB:.0f} MiB): {len(different)} differ{said}"
    )


def _ocfs2(folder: Path) -> str:
    found = check_ocfs2(folder)
    said = f": {', '.join(found.different)}" if found.different else ""
    return (
        f"{found.files} files on OCFS2 volumes of {len(OCFS2_SHAPES)} shapes, not mounted, trees of depth 0 to 3: their"
        f" {found.records:,} records and {found.size / MIB:.0f} MiB of content against debugfs.ocfs2:"
        f" {len(found.different)} differ{said}"
    )


def _chain_maps(image: Path) -> list[RangeMap]:
    visible, maps = Visible(), list[RangeMap]()
    with opened_chain(ImageSource(image, opener=trust_names)) as chain:
        for one in chain:
            maps.append(visible.of(map_image(one, "guest:disk")))
            visible = Visible.below(maps[-1])
    return maps
