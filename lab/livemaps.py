"""Maps of live volumes on a lab host, read back: a pattern that says its own guest offset, at the map's addresses.

Inside the host it is `python -m lab.livemaps IMAGE ANSWER`, where IMAGE is what `make_stamped` made outside; the
answer is JSON, a `Checked` for each volume.
"""

import contextlib
import json
import mmap
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lab.imagematrix import qemu_img
from lab.volumes import PLACE, Stack, load_modules, mounted, run, stacked
from vio.mappers.address import Trail, trace
from vio.mappers.chain import TakenMaps, survey
from vio.mappers.extent import RangeMap
from vio.mappers.hostfs import ocfs2
from vio.mappers.hostfs.volume import opened_volume
from vio.mappers.images import ImageSource
from vio.mappers.kind import Flag, Ints, Kind, base_of
from vio.mappers.level import LevelSort
from vio.mappers.space import device_of, device_space
from vio.mappers.timed import MapSet

KIB, MIB = 1 << 10, 1 << 20
SECTOR = 512
CLUSTER = 64 * KIB
DISK_BYTES = 4 * MIB
WRITTEN = tuple(number for number in range(DISK_BYTES // CLUSTER) if number % 5)
NAME = "disk.qcow2"
STACKS = (
    Stack.PLAIN,
    Stack.LINEAR,
    Stack.STRIPED,
    Stack.CRYPT,
    Stack.MULTIPATH,
    Stack.PARTITION,
    Stack.RAID0,
    Stack.RAID1,
    Stack.RAID10,
    Stack.RAID10_NEAR3,
    Stack.RAID10_FAR,
    Stack.RAID10_OFFSET,
    Stack.RAID5,
    Stack.RAID6,
    Stack.THIN,
    Stack.LVM_THIN,
    Stack.NVME_PATHS,
)
PATHS_DISK = 5
"""The number of the lab host's disk that two controllers lead to."""
_FILE_SYSTEMS = {Stack.PLAIN: "ocfs2", Stack.CRYPT: "ext4", Stack.RAID10: "ext4"}
_PIECES = {"ocfs2": 4 * KIB, "ext4": CLUSTER}
_MKFS = {
    # blocks of 512 bytes: an inode has room for 19 extents, an extent block for 28
    "ocfs2": "mkfs.ocfs2 -q -F --fs-features=local -M local -N 1 -C 4K -b 512 {device} 524288",
    "ext4": "mkfs.ext4 -q -F {device} 128M",
}
_ROW = re.compile(r"^\s*\d+\s+(\d+)\s+(\d+)\s+(\d+)\s+0x([0-9a-f]+)")
_DEPTH = re.compile(r"Tree Depth: (\d+)")
_LIMIT_S = 60
_EACH = 5


@dataclass(slots=True)
class Checked:
    """What was read back on one volume: bytes at each place (device, copy), and how many pieces said something else.

    `file_system` is that on top, "" where the image lies on the device itself. `encrypted` are pieces of ciphertext
    that turned out to be those of the guest's offset, by a change made there. `notes` are the map's own, `devices` are
    those that it leads through. The last three are of OCFS2: extents, depth of their tree, and the readers that do not
    agree with ours.
    """

    stack: str
    file_system: str
    bytes_at: dict[str, int] = field(default_factory=dict)
    pieces: int = 0
    different: int = 0
    encrypted: int = 0
    notes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    seconds: float = 0.0
    extents: int = 0
    depth: int = 0
    disagree: list[str] = field(default_factory=list)


def stamped(offset: int, length: int) -> bytes:
    """Give bytes each sector of which says its own offset."""
    return np.repeat(np.arange(offset, offset + length, SECTOR, dtype="<u8"), SECTOR // 8).tobytes()


def make_stamped(path: Path) -> None:
    """Make a qcow2 image, four fifths of its clusters (`WRITTEN`) written in random order."""
    clusters = list(WRITTEN)
    random.Random(4).shuffle(clusters)
    qemu_img("create", "-q", "-f", "qcow2", str(path), str(DISK_BYTES))
    lines = []
    for number in clusters:
        stamp = path.parent / f"stamp{number}"
        stamp.write_bytes(stamped(number * CLUSTER, CLUSTER))
        lines.append(f"write -s {stamp} {number * CLUSTER} {CLUSTER}\n")
    words = ["qemu-io", "-t", "unsafe", "-f", "qcow2", str(path)]
    subprocess.run(words, input="".join(lines), text=True, check=True, capture_output=True, timeout=_LIMIT_S)


def by_debugfs(device: Path | str, what: str) -> list[tuple[int, int, int, int]]:
    """Give start, clusters, block and flags of a file's leaf records as debugfs.ocfs2 has them."""
    words = ["debugfs.ocfs2", "-n", "-R", f"stat {what}", str(device)]
    done = subprocess.run(words, capture_output=True, timeout=_LIMIT_S, check=False)
    rows, depth = [], 0
    for line in done.stdout.decode().splitlines():
        found = _DEPTH.search(line)
        depth = int(found[1]) if found else depth
        row = _ROW.match(line)
        if row and not found and depth == 0:  # rows count while the last depth said is 0
            rows.append((int(row[1]), int(row[2]), int(row[3]), int(row[4], 16)))
    return rows


def check(stack: Stack, image: Path) -> Checked:
    """Put the image on a stack of devices, map it, and read all of its places."""
    began_s = time.monotonic()
    file_system = _FILE_SYSTEMS.get(stack, "")
    checked = Checked(stack, file_system)
    with stacked(stack, PATHS_DISK if stack is Stack.NVME_PATHS else 0) as (device, disks):
        with _placed(image, device, file_system) as path:
            taken = survey(ImageSource(path, "qcow2"), 1)
            for one in {device, *disks}:
                run("blockdev", "--flushbufs", one)
            _read_back(taken, checked)
        checked.devices = [level.name for level in taken.levels if level.sort is LevelSort.DEVICE]
        if file_system == "ocfs2":
            _compare_readers(device, taken, checked)
    checked.seconds = round(time.monotonic() - began_s, 1)
    return checked


@contextlib.contextmanager
def _placed(image: Path, device: str, file_system: str) -> Iterator[Path]:
    """Give the image's place: in a file on the device, or the device itself."""
    if not file_system:
        _write_in_pieces(image, Path(device))
        yield Path(device)
        return
    load_modules(file_system)
    run(*_MKFS[file_system].format(device=device).split())
    with mounted(device, file_system) as directory:
        _copy_in_pieces(image, directory / NAME, _PIECES[file_system])
        yield directory / NAME


def _write_in_pieces(source: Path, device: Path) -> None:
    """Write pieces in random order: a device that gives out its space as it is needed has them in disorder then."""
    data = source.read_bytes()
    places = list(range(0, len(data), CLUSTER))
    random.Random(5).shuffle(places)
    for place in places:
        piece = data[place : place + CLUSTER]
        write_direct(device, place, piece + bytes(-len(piece) % (4 * KIB)))
    with device.open("r+b") as file:
        os.fsync(file.fileno())


def _copy_in_pieces(source: Path, target: Path, piece: int) -> None:
    """Copy every second piece, then the others: where they meet, the file has gone elsewhere meanwhile."""
    data = source.read_bytes()
    with target.open("wb") as file:
        for first in (0, piece):
            for at in range(first, len(data), 2 * piece):
                os.pwrite(file.fileno(), data[at : at + piece], at)
            os.fsync(file.fileno())
    os.sync()


def _read_back(taken: TakenMaps, checked: Checked) -> None:
    checked.notes += taken.notes
    guest = np.arange(0, DISK_BYTES, CLUSTER)
    trail = trace(MapSet(tuple(taken.maps)), 1, "guest:disk0", guest, CLUSTER)
    ciphers = _below_ciphers(taken)
    for (space, copy), target in trail.places.items():
        device = _node(space)
        if device_of(space) is None or not device.exists():  # a path of an NVMe namespace has no node
            continue
        if space in ciphers:
            checked.encrypted += _changes_what_is_above(device, target, trail, ciphers[space])
            continue
        for start, length, at in _pieces(trail, target):
            checked.pieces += 1
            checked.different += read_direct(device, at, length) != stamped(start, length)
            name = f"{device.name} {copy}"
            checked.bytes_at[name] = checked.bytes_at.get(name, 0) + length


def _pieces(trail: Trail, target: Ints) -> Iterator[tuple[int, int, int]]:
    rows = np.flatnonzero((target >= 0) & (base_of(trail.kind) == Kind.MAPPED))
    yield from zip(trail.start[rows].tolist(), trail.length[rows].tolist(), target[rows].tolist(), strict=True)


def _below_ciphers(taken: TakenMaps) -> dict[str, str]:
    """Name the spaces that hold ciphertext, each with the one above that is read in the clear."""
    maps = [timed.map for timed in taken.maps]
    return {one.target_space: one.source_space for one in maps if (one.kind & Flag.ENCRYPTED).any()}


def _changes_what_is_above(device: Path, target: Ints, trail: Trail, clear: str) -> int:
    """Overwrite a sector of ciphertext in some pieces: in the clear, that sector and no other has to change."""
    above, found = trail.places[clear, 0], 0
    places = list(zip(_pieces(trail, target), _pieces(trail, above), strict=True))
    for (start, length, at), (_, _, at_clear) in places[::_EACH]:
        changed = length // 2 // SECTOR * SECTOR
        write_direct(device, at + changed, bytes(SECTOR))
        seen = np.frombuffer(read_direct(_node(clear), at_clear, length), dtype=np.uint8).reshape(-1, SECTOR)
        wanted = np.frombuffer(stamped(start, length), dtype=np.uint8).reshape(-1, SECTOR)
        found += np.flatnonzero((seen != wanted).any(axis=1)).tolist() == [changed // SECTOR]
    return found


def _compare_readers(device: str, taken: TakenMaps, checked: Checked) -> None:
    """Compare FIEMAP, our reader of the volume that is unmounted now, and debugfs.ocfs2."""
    by_fiemap = next(timed.map for timed in taken.maps if timed.map.source_space.startswith("file:"))
    space = device_space(Path(device).stat().st_rdev)
    with opened_volume(Path(device)) as volume:
        file = volume.find(Path(f"/{NAME}"))
        by_reader = file.ranges
        unmounted = survey(ImageSource(file, "qcow2"), 1)
        geometry = ocfs2.read_geometry(volume.fd)
        inode = ocfs2.read_inode(volume.fd, geometry, ocfs2.find_inode(volume.fd, geometry, f"/{NAME}"))
    checked.extents, checked.depth = len(by_reader), ocfs2.LIST.unpack_from(inode.data, ocfs2.INODE_LIST)[0]
    if not by_reader.is_same(by_fiemap):
        checked.disagree.append("FIEMAP")
    pairs = zip(unmounted.maps, taken.maps, strict=True)
    if not all(one.map.is_same(other.map) for one, other in pairs):
        checked.disagree.append("the image read from the volume")
    rows = by_debugfs(device, f"/{NAME}")
    start, clusters, block, _ = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    columns = (start * geometry.cluster, clusters * geometry.cluster, block * geometry.block)
    theirs = RangeMap.of(by_fiemap.source_space, space, *columns)
    if not theirs.is_same(by_reader):
        checked.disagree.append("debugfs.ocfs2")


def _node(space: str) -> Path:
    number = device_of(space) or 0
    return Path("/dev") / Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name


def read_direct(device: Path, offset: int, length: int) -> bytes:
    """Read from the device itself, past what the kernel keeps of it."""
    with mmap.mmap(-1, length) as buffer:
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            count = os.preadv(fd, [buffer], offset)
        finally:
            os.close(fd)
        return buffer[:count]


def write_direct(device: Path, offset: int, data: bytes) -> None:
    """Write to the device itself, past what the kernel keeps of it."""
    with mmap.mmap(-1, len(data)) as buffer:
        buffer[:] = data
        fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
        try:
            os.pwritev(fd, [buffer], offset)
        finally:
            os.close(fd)


def main(arguments: list[str]) -> int:
    """Check all volumes one after the other."""
    image, answer = map(Path, arguments)
    PLACE.mkdir(parents=True, exist_ok=True)
    local = Path("/tmp") / image.name
    local.write_bytes(image.read_bytes())
    found = [check(stack, local) for stack in STACKS]
    answer.write_text(json.dumps([asdict(one) for one in found]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"lab: {error.cmd[0]} ended with exit code {error.returncode}: {(error.stderr or b'').decode()}")
