"""The text of LVM's metadata: real text by lvm2, and any other."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vio.errors import MapError
from vio.mappers.guestfs.lvm import PhysicalVolume, logical_volumes
from vio.mappers.guestfs.lvmtext import parse_metadata

TEXT = """
vg0 {
id = "Jx1kPa-0000-0000-0000-0000-0000-mlHR5n"
seqno = 5
format = "lvm2"  # a comment
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
physical_volumes {
pv0 { id = "AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
device = "/dev/\\"odd\\""
pe_start = 2048
pe_count = 49 }
pv1 { id = "BBBBBB-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"
pe_start = 2048 }
}
logical_volumes {
lin { segment_count = 2
segment1 { start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 1
stripes = [ "pv0", 0 ] }
segment2 { start_extent = 10
extent_count = 10
type = "striped"
stripe_count = 1
stripes = ["pv1", 15] } }
thin { segment_count = 1
segment1 { start_extent = 0
extent_count = 1
type = "thin" } }
}
}
contents = "Text Format Volume Group"
version = 1
"""
FIRST = "AAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaa"


def test_text_is_read_as_sections_lists_and_values() -> None:
    group = parse_metadata(TEXT)["vg0"]
    assert isinstance(group, dict)
    assert (group["seqno"], group["status"], group["flags"]) == (5, ["RESIZEABLE", "READ", "WRITE"], [])
    volumes = group["physical_volumes"]
    assert isinstance(volumes, dict)
    assert isinstance(volumes["pv0"], dict)
    assert volumes["pv0"]["device"] == '/dev/"odd"'


def test_volumes_are_mapped_as_far_as_their_disk_is_there() -> None:
    extent = 4 << 20
    lin, thin = logical_volumes([PhysicalVolume(FIRST, 1 << 20, TEXT)], "guest:a")
    assert (lin.name, lin.size) == ("vg0/lin", 20 * extent)
    assert (lin.ranges.length.tolist(), lin.ranges.target.tolist()) == ([10 * extent], [2 << 20])
    assert lin.notes == ("a part of segment 2 is on another disk",)
    assert thin.notes == ("segment 1 is of the type thin, which is not mapped",)
    second = PhysicalVolume(FIRST.replace("A", "B").replace("a", "b"), 1 << 30, TEXT)
    whole = logical_volumes([PhysicalVolume(FIRST, 1 << 20, TEXT), second], "guest:a")[0]
    assert whole.ranges.target.tolist() == [2 << 20, (1 << 30) + (1 << 20) + 15 * extent]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("extent_size = 8192", "extent_size = 0", "extent_size"),
        ("extent_size = 8192", "", "extent_size"),
        ("segment_count = 2", "segment_count = 3", "segment 3 is missing"),
        ("extent_count = 10", "extent_count = -4", "extent_count"),
        ("extent_count = 10", "extent_count = 9999999999999999", "segment 1"),
        ('stripes = [ "pv0", 0 ]', 'stripes = [ "pv0" ]', "stripes"),
        ('stripes = [ "pv0", 0 ]', "stripes = [ 0, 0 ]", "stripes"),
        ("stripe_count = 1", "stripe_count = 2", "stripes"),
        ("logical_volumes {", "logical_volumes = 7 = {", "where a name should be"),
        ("flags = []", "flags = [", "where a value should be"),
        ('"RESIZEABLE"', '"RESIZEABLE', "sense"),
    ],
)
def test_damaged_metadata_is_refused_by_name(old: str, new: str, what: str) -> None:
    with pytest.raises(MapError, match=what):
        logical_volumes([PhysicalVolume(FIRST, 0, TEXT.replace(old, new, 1))], "guest:a")


def test_deep_text_is_refused() -> None:
    for text in ("a {" * 5000, "a = " + "[" * 5000):
        with pytest.raises(MapError):
            parse_metadata(text)


@given(st.text(alphabet='abc0123 \n={}[],"#\\', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MapError):
        parse_metadata(text)
