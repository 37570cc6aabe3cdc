"""Tables of the device mapper, as the kernel's documentation and real hosts have them, and md arrays, by the rules."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.errors import MapError
from vio.mappers.device.dm import map_table, parse_table
from vio.mappers.device.md import Array, map_array, read_array
from vio.mappers.device.stripes import Copies, Member
from vio.mappers.device.tree import DeviceKind, DeviceTree
from vio.mappers.kind import Flag, Kind, name_of

MIB = 1 << 20
WHOLE = (np.zeros(1, dtype=np.int64), np.array([1 << 40]))


def places(table: str, offset: int) -> list[tuple[str, int]]:
    return where(map_table("dev:253:0", parse_table(table), WHOLE), offset)


def where(maps: Copies, offset: int) -> list[tuple[str, int]]:
    """Say at which addresses of which devices a byte is, copy by copy."""
    found = []
    for ranges, _ in sorted(maps, key=lambda one: one[1]):
        target = int(ranges.lookup(offset, 1).target[0])
        if target >= 0:
            found.append((ranges.target_space, target))
    return found


def test_two_linear_segments_lead_to_two_devices() -> None:
    table = "0 2048 linear 8:16 384\n2048 4096 linear 259:3 2048\n"
    assert places(table, 512) == [("dev:8:16", 512 + 384 * 512)]
    assert places(table, MIB + 512) == [("dev:259:3", 512 + MIB)]


def test_two_segments_on_one_device_are_one_map() -> None:
    maps = map_table("dev:253:0", parse_table("0 8 linear 8:0 100\n8 8 linear 8:0 50\n"), WHOLE)
    assert [(ranges.target_space, ranges.target.tolist()) for ranges, _ in maps] == [("dev:8:0", [51200, 25600])]


def test_stripes_go_round_the_devices() -> None:
    table = "0 8192 striped 3 128 8:0 0 8:16 2048 8:32 0"
    chunk = 64 << 10
    for number in range(64):
        device, base = [("dev:8:0", 0), ("dev:8:16", MIB), ("dev:8:32", 0)][number % 3]
        assert places(table, number * chunk + 7) == [(device, base + number // 3 * chunk + 7)]


def test_crypt_keeps_its_offset_and_says_that_it_is_ciphertext() -> None:
    table = "0 2048 crypt aes-xts-plain64 0000000000000000 0 8:16 4096 1 allow_discards"
    ((ranges, _),) = map_table("dev:253:0", parse_table(table), WHOLE)
    assert ranges.target.tolist() == [4096 * 512]
    assert name_of(int(ranges.kind[0])) == "MAPPED|ENCRYPTED"


def test_every_path_of_a_multipath_device_leads_to_the_same_address() -> None:
    table = (
        "0 20971520 multipath 2 queue_if_no_path retain_attached_hw_handler 1 alua 2 1 "
        "service-time 0 2 2 8:16 1 1 8:32 1 1 round-robin 0 1 1 8:48 1000"
    )
    assert places(table, 12345) == [("dev:8:16", 12345), ("dev:8:32", 12345), ("dev:8:48", 12345)]


def test_snapshot_reads_its_origin_and_says_that_writes_go_elsewhere() -> None:
    ((ranges, _),) = map_table("dev:253:0", parse_table("0 2048 snapshot 8:0 8:16 P 8"), WHOLE)
    assert int(ranges.kind[0]) == Kind.MAPPED | Flag.SHARED
    assert places("0 2048 snapshot-origin 8:0", 77) == [("dev:8:0", 77)]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("0 2048 thin 253:2 1", "metadata of its pool"),
        ("0 2048 raid raid1 3 0 region_size 1024 2 8:0 8:1", "not mapped"),
        ("0 2048 linear 8:0", "no sense"),
        ("0 2048 linear sda 0", "no sense"),
        ("0 2048 linear 8:0 -1", "no sense"),
        ("0 2048 striped 0 128", "no sense"),
        ("0 2048 striped 2 0 8:0 0 8:16 0", "no sense"),
        ("0 2048 striped 9999999 128 8:0 0", "no sense"),
        ("0 2048 striped 1 99999999999999999999 8:0 0", "no sense"),
        ("0 2048 multipath 0 0 1 1 round-robin 0 9 1 8:0 1", "no sense"),
        ("0 2048 crypt aes", "no sense"),
        ("0 0 linear 8:0 0", "impossible"),
        ("0 8 linear 8:0 0\n4 8 linear 8:0 0", "impossible"),
        ("hello", "no segment"),
    ],
)
def test_what_a_table_cannot_say_is_refused_by_name(table: str, why: str) -> None:
    with pytest.raises(MapError, match=why):
        map_table("dev:253:0", parse_table(table), WHOLE)


@given(st.text(alphabet="0123456789: abcdefinlrsty\n", max_size=80))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    with contextlib.suppress(MapError):
        map_table("dev:253:0", parse_table(text), (WHOLE[0], np.array([1 << 30])))


def array(level: str, count: int, layout: int = 0, chunk: int = 64 << 10, size: int = 64 * MIB) -> Array:
    members = tuple(Member(f"dev:8:{16 * number}", MIB) for number in range(count))
    return Array(level, layout, chunk, size, members, (size,) * count, size)


def of_array(one: Array, offset: int) -> list[tuple[str, int]]:
    within = (np.zeros(1, dtype=np.int64), np.array([one.size]))
    return where(map_array("dev:9:0", one, within), offset)


def test_raid1_has_every_byte_on_every_member() -> None:
    assert of_array(array("raid1", 2), 5) == [("dev:8:0", MIB + 5), ("dev:8:16", MIB + 5)]


def test_raid10_near_2_of_three_members() -> None:
    chunk = 64 << 10
    # md(4): with an odd number of members the copies of a chunk may be in different rows.
    assert of_array(array("raid10", 3, 0x102), 1 * chunk) == [("dev:8:32", MIB), ("dev:8:0", MIB + chunk)]
    assert of_array(array("raid10", 4, 0x102), 3 * chunk + 9) == [
        ("dev:8:32", MIB + chunk + 9),
        ("dev:8:48", MIB + chunk + 9),
    ]


FAR, OFFSET = 0x201, 0x10201
IN_SETS = 2 << 17
IN_OLD_SETS = 1 << 17
# Rows of members, by layout and the row: the numbers of the data chunks. A member gives 8 chunks.
COPIES = {
    (FAR, 4): {0: "0 1 2 3", 1: "4 5 6 7", 3: "12 13 14 15", 4: "3 0 1 2", 5: "7 4 5 6"},
    (FAR, 3): {0: "0 1 2", 3: "9 10 11", 4: "2 0 1", 7: "11 9 10"},
    (FAR + 0x100, 3): {0: "0 1 2", 1: "3 4 5", 2: "2 0 1", 4: "1 2 0", 5: "4 5 3"},
    (FAR + 1, 4): {0: "0 0 1 1", 3: "6 6 7 7", 4: "1 1 0 0"},
    (FAR | IN_SETS, 4): {0: "0 1 2 3", 4: "1 0 3 2"},
    (FAR | IN_SETS, 5): {0: "0 1 2 3 4", 4: "1 0 4 2 3"},
    (FAR | IN_OLD_SETS, 6): {0: "0 1 2 3 4 5", 4: "2 0 1 5 3 4"},
    (OFFSET, 4): {0: "0 1 2 3", 1: "3 0 1 2", 2: "4 5 6 7", 3: "7 4 5 6"},
    (OFFSET, 3): {0: "0 1 2", 1: "2 0 1", 6: "9 10 11", 7: "11 9 10"},
    (0x103, 4): {0: "0 0 0 1", 1: "1 1 2 2", 2: "2 3 3 3"},
}


@pytest.mark.parametrize(("layout", "count"), COPIES)
def test_raid10_copies_are_where_the_kernel_puts_them(layout: int, count: int) -> None:
    chunk = 64 << 10
    one = replace(array("raid10", count, layout, size=8 * chunk), size=32 * chunk)
    for row, drawn in COPIES[layout, count].items():
        for member, number in enumerate(drawn.split()):
            assert (f"dev:8:{16 * member}", MIB + row * chunk + 3) in of_array(one, int(number) * chunk + 3)
    copies = (layout & 0xFF) * (layout >> 8 & 0xFF)
    assert len(set(of_array(one, 2 * chunk))) == copies


# Rows of four members as md(4) draws them: the numbers of the data chunks, P for parity.
LAYOUTS = {
    0: ["0 1 2 P", "3 4 P 5", "6 P 7 8", "P 9 10 11", "12 13 14 P"],
    1: ["P 0 1 2", "3 P 4 5", "6 7 P 8", "9 10 11 P", "P 12 13 14"],
    2: ["0 1 2 P", "4 5 P 3", "8 P 6 7", "P 9 10 11", "12 13 14 P"],
    3: ["P 0 1 2", "5 P 3 4", "7 8 P 6", "9 10 11 P", "P 12 13 14"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_raid5_chunks_are_where_the_drawing_has_them(layout: int) -> None:
    chunk = 64 << 10
    for row, drawn in enumerate(LAYOUTS[layout]):
        for member, number in enumerate(drawn.split()):
            if number != "P":
                expected = [(f"dev:8:{16 * member}", MIB + row * chunk + 3)]
                assert of_array(array("raid5", 4, layout), int(number) * chunk + 3) == expected


# The same of five members of raid6, Q being the second parity; from 16 on it is raid5 of the first four, Q on the last.
DOUBLE_LAYOUTS = {
    0: ["Q 0 1 2 P", "3 4 5 P Q", "6 7 P Q 8", "9 P Q 10 11", "P Q 12 13 14", "Q 15 16 17 P"],
    1: ["P Q 0 1 2", "3 P Q 4 5", "6 7 P Q 8", "9 10 11 P Q", "Q 12 13 14 P", "P Q 15 16 17"],
    2: ["Q 0 1 2 P", "3 4 5 P Q", "7 8 P Q 6", "11 P Q 9 10", "P Q 12 13 14", "Q 15 16 17 P"],
    3: ["P Q 0 1 2", "5 P Q 3 4", "7 8 P Q 6", "9 10 11 P Q", "Q 12 13 14 P", "P Q 15 16 17"],
    4: ["P Q 0 1 2", "P Q 3 4 5"],
    5: ["0 1 2 P Q", "3 4 5 P Q"],
    16: ["0 1 2 P Q", "3 4 P 5 Q", "6 P 7 8 Q", "P 9 10 11 Q", "12 13 14 P Q"],
    18: ["0 1 2 P Q", "4 5 P 3 Q", "8 P 6 7 Q", "P 9 10 11 Q", "12 13 14 P Q"],
    20: ["P 0 1 2 Q", "P 3 4 5 Q"],
}


@pytest.mark.parametrize("layout", DOUBLE_LAYOUTS)
def test_raid6_chunks_are_where_the_kernel_puts_them(layout: int) -> None:
    chunk = 64 << 10
    for row, drawn in enumerate(DOUBLE_LAYOUTS[layout]):
        for member, number in enumerate(drawn.split()):
            if number not in "PQ":
                expected = [(f"dev:8:{16 * member}", MIB + row * chunk + 3)]
                assert of_array(array("raid6", 5, layout), int(number) * chunk + 3) == expected


@pytest.mark.parametrize(
    ("level", "layout"),
    [("raid10", 0x501), ("raid10", 0x80201), ("raid10", 0x101), ("raid10", 0), ("raid5", 17), ("raid6", 8)],
)
def test_other_arrays_are_refused(level: str, layout: int) -> None:
    with pytest.raises(MapError, match=level):
        of_array(array(level, 4, layout), 0)


def made_up(folder: Path, **changes: str) -> Path:
    """Write an array's directory of /sys, without members."""
    md = folder / "md0" / "md"
    md.mkdir(parents=True)
    texts = {"level": "raid0", "raid_disks": "1", "layout": "-1", "chunk_size": "65536"}
    for name, text in (texts | {"component_size": "0", "reshape_position": "none"} | changes).items():
        (md / name).write_text(f"{text}\n")
    return md


def test_raid0_has_no_layout(tmp_path: Path) -> None:
    assert read_array(made_up(tmp_path).parent, MIB).layout == -1


def test_an_array_whose_layout_changes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="reshaped"):
        read_array(made_up(tmp_path, reshape_position="4096").parent, MIB)


def test_array_and_its_missing_member_are_read_from_sys(tmp_path: Path) -> None:
    md = made_up(tmp_path, level="raid1", raid_disks="3", layout="0", chunk_size="0", component_size="65536")
    for number, dev in enumerate(("8:0", "8:16")):
        (md / f"rd{number}" / "block").mkdir(parents=True)
        (md / f"rd{number}" / "block" / "dev").write_text(f"{dev}\n")
        (md / f"rd{number}" / "offset").write_text("2048\n")
        (md / f"rd{number}" / "size").write_text("65536\n")
    found = read_array(md.parent, 64 * MIB)
    assert found.members == (Member("dev:8:0", MIB), Member("dev:8:16", MIB), None)
    assert of_array(found, 0) == [("dev:8:0", MIB), ("dev:8:16", MIB)]


def test_dm_device_is_mapped_by_its_table(tmp_path: Path) -> None:
    path = tmp_path / "sys" / "block" / "dm-0"
    (path / "dm").mkdir(parents=True)
    (path / "dm" / "name").write_text("vg-root\n")
    (path / "size").write_text("2048\n")
    (tmp_path / "sys" / "dev" / "block").mkdir(parents=True)
    (tmp_path / "sys" / "dev" / "block" / "253:0").symlink_to(path)
    tree = DeviceTree(tmp_path / "sys", read_table={"vg-root": "0 2048 linear 8:3 2048"}.__getitem__)
    device = tree.find(253 << 8)
    assert (device.kind, device.about) == (DeviceKind.DM, "device mapper (vg-root)")
    assert where(tree.maps_down(device).maps, 1) == [("dev:8:3", MIB + 1)]
