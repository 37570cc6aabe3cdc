"""Hostile qcow2 images: each is mapped whole or refused with MapError, in bounded time and memory."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from vio.errors import MapError
from vio.mappers.extent import RangeMap
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.header import read_header
from vio.mappers.qcow2.walk import map_qcow2

ROUNDS = 600
MIB = 1 << 20

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img to make images")


def make(path: Path, options: str) -> bytes:
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(path), "16M"]
    subprocess.run(words, check=True, timeout=60)
    script = "write 0 1M\nwrite -z 2M 1M\nwrite -c 4M 64k\nwrite 15M 64k\n"
    subprocess.run(["qemu-io", str(path)], input=script, text=True, check=True, timeout=60, capture_output=True)
    return path.read_bytes()


def walk(path: Path, image: bytes) -> RangeMap:
    path.write_bytes(image)
    with path.open("rb") as file:
        return map_qcow2(file.fileno(), "guest:disk", "file")


def patched(image: bytes, offset: int, form: str, value: int) -> bytes:
    data = bytearray(image)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make(tmp_path_factory.mktemp("fuzz") / "seed.qcow2", "cluster_size=64k")


@pytest.mark.parametrize(
    ("field", "offset", "form", "value"),
    [
        ("magic", 0, ">I", 0x51464900),
        ("version", 4, ">I", 4),
        ("version", 4, ">I", 1),
        ("backing_file_offset", 8, ">Q", 65537),
        ("backing_file_offset", 8, ">Q", 2**64 - 1),
        ("cluster_bits", 20, ">I", 8),
        ("cluster_bits", 20, ">I", 22),
        ("cluster_bits", 20, ">I", 2**32 - 1),
        ("size", 24, ">Q", 2**64 - 1),
        ("l1_size", 24, ">Q", 2**50),
        ("crypt_method", 32, ">I", 9),
        ("l1_size", 36, ">I", 0),
        ("l1_size", 36, ">I", 2**32 - 1),
        ("l1_size", 36, ">I", (fmt.MAX_L1_BYTES >> 3) + 1),
        ("l1_table_offset", 40, ">Q", 512),
        ("l1_table_offset", 40, ">Q", 2**63),
        ("l1_table_offset", 40, ">Q", 2**62),
        ("refcount_table_offset", 48, ">Q", 1),
        ("refcount_table_clusters", 56, ">I", 2**32 - 1),
        ("nb_snapshots", 60, ">I", 65537),
        ("snapshots_offset", 64, ">Q", 77),
        ("incompatible_features", 72, ">Q", 1 << 5),
        ("incompatible_features", 72, ">Q", 1 << 63),
        ("compression_type", 72, ">Q", int(fmt.Incompatible.COMPRESSION_TYPE)),
        ("refcount_order", 96, ">I", 7),
        ("header_length", 100, ">I", 103),
        ("header_length", 100, ">I", 2**32 - 1),
        ("compression_type", 104, ">B", 1),
        ("compression_type", 104, ">B", 9),
        ("header extension", 116, ">I", 2**32 - 1),
    ],
)
def test_hostile_field_is_refused_by_name(
    field: str, offset: int, form: str, value: int, image: bytes, tmp_path: Path
) -> None:
    with pytest.raises(MapError, match=field):
        walk(tmp_path / "image", patched(image, offset, form, value))


def l1_offset(image: bytes) -> int:
    return int(struct.unpack_from(">Q", image, 40)[0])


def l2_offset(image: bytes) -> int:
    return int(struct.unpack_from(">Q", image, l1_offset(image))[0]) & fmt.OFFSET_MASK


@pytest.mark.parametrize("entry", [2**40, 0x200, fmt.OFFSET_MASK & ~0xFFFF])
def test_l2_table_outside_or_misplaced_is_refused(entry: int, image: bytes, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="l1_table"):
        walk(tmp_path / "image", patched(image, l1_offset(image), ">Q", entry))


def test_l2_table_claimed_twice_is_refused(image: bytes, tmp_path: Path) -> None:
    entry = struct.unpack_from(">Q", image, l1_offset(image))[0]
    hostile = patched(patched(image, 36, ">I", 2), 24, ">Q", 1 << 30)
    with pytest.raises(MapError, match="share an L2 table"):
        walk(tmp_path / "image", patched(hostile, l1_offset(image) + 8, ">Q", entry))


def test_misplaced_cluster_is_refused_with_its_guest_offset(image: bytes, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="0x30000: host cluster is not aligned"):
        walk(tmp_path / "image", patched(image, l2_offset(image) + 24, ">Q", 0x50200))


def test_zero_cluster_in_version_2_is_refused(tmp_path: Path) -> None:
    old = make(tmp_path / "v2", "compat=0.10")
    with pytest.raises(MapError, match="version 2"):
        walk(tmp_path / "image", patched(old, l2_offset(old), ">Q", 1))


def test_subcluster_of_two_minds_is_refused(tmp_path: Path) -> None:
    extended = make(tmp_path / "extl2", "extended_l2=on,cluster_size=64k")
    with pytest.raises(MapError, match="both allocated and zero"):
        walk(tmp_path / "image", patched(extended, l2_offset(extended) + 8, ">Q", (1 << 32) | 1))


def test_truncated_images_are_refused(image: bytes, tmp_path: Path) -> None:
    for size in (0, 3, 71, 72, 103, 104, 65536, l1_offset(image) + 7):
        with pytest.raises(MapError):
            walk(tmp_path / "image", image[:size])


def test_more_tables_than_a_map_may_walk_are_refused(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image"
    tables = 1 << 18
    hostile = patched(patched(image, 24, ">Q", tables << 29), 36, ">I", tables)
    path.write_bytes(patched(hostile, 40, ">Q", 64 * MIB))
    with path.open("r+b") as file:
        file.seek(64 * MIB)
        file.write(b"".join(((1 + i) << 16).to_bytes(8, "big") for i in range(tables)))
        file.truncate(1 << 40)
        with pytest.raises(MapError, match="more than"):
            map_qcow2(file.fileno(), "guest:disk", "file")


def test_backing_file_name_is_text_and_nothing_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "image"
    words = [
        "qemu-img",
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "/etc/passwd",
        "-F",
        "raw",
        str(path),
        "1M",
    ]
    subprocess.run(words, check=True, timeout=60)
    with path.open("rb") as file:
        open_before = len(list(Path("/proc/self/fd").iterdir()))
        assert read_header(file.fileno()).backing_file == "/etc/passwd"
        map_qcow2(file.fileno(), "guest:disk", "file")
        assert len(list(Path("/proc/self/fd").iterdir())) == open_before


@pytest.mark.parametrize(
    "options", ["cluster_size=64k", "compat=0.10,cluster_size=512", "extended_l2=on,cluster_size=64k"]
)
def test_mutated_metadata_is_mapped_whole_or_refused(options: str, tmp_path: Path) -> None:
    seed = make(tmp_path / "seed", options)
    chance = random.Random(options)
    tables = (l1_offset(seed), l2_offset(seed))
    path = tmp_path / "image"
    refused = 0
    for _ in range(ROUNDS):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            base, size = chance.choice([(0, 128), (tables[0], 16), (tables[1], 512)])
            place = base + chance.randrange(size)
            data[place] = chance.choice([0, 0xFF, 0x80, data[place] ^ (1 << chance.randrange(8))])
        try:
            ranges = walk(path, bytes(data))
        except MapError:
            refused += 1
            continue
        claimed = struct.unpack_from(">Q", data, 24)[0]
        assert int(ranges.length.sum()) == claimed
    assert 0 < refused < ROUNDS
