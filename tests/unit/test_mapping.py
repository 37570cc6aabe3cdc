"""What dmsetup's tables say of a mapped device."""

import os

from vio.mappers.device.dm import parse_table
from vio.mappers.device.mapping import Mapping, Stretch, mapping_by

DISK = os.makedev(259, 3)


def mapping_of_table(text: str) -> Mapping:
    return mapping_by(parse_table(text))


def test_targets_that_map_whole_stretches() -> None:
    # as dmsetup printed them on a lab host; crypt's key is hidden
    linear = mapping_of_table("0 2095104 linear 259:3 2048\n")
    assert linear == Mapping("linear", (Stretch(0, 2095104 * 512, DISK, 2048 * 512),))
    crypt = mapping_of_table("0 2097152 crypt aes-cbc-essiv:sha256 " + "0" * 64 + " 0 259:3 8\n")
    assert crypt == Mapping("crypt", (Stretch(0, 2097152 * 512, DISK, 8 * 512),))
    assert mapping_of_table("0 2097152 delay 259:3 0 5\n") == Mapping("delay", (Stretch(0, 2097152 * 512, DISK, 0),))


def test_a_volume_of_several_stretches() -> None:
    table = mapping_of_table("0 100 linear 259:3 0\n100 50 linear 259:3 4096\n150 8 error\n")
    assert table.name == "linear+error"
    assert [(one.start, one.parent_start) for one in table.stretches] == [(0, 0), (51200, 4096 * 512)]


def test_of_other_targets_the_name_is_taken() -> None:
    assert mapping_of_table("0 262144 striped 2 128 259:0 0 259:3 0\n") == Mapping("striped")
    assert mapping_of_table("0 8 linear nonsense 0\n") == Mapping("linear")
    assert mapping_of_table("") == Mapping()
