"""Thin volumes as the kernel makes them: every block read back, and thin_dump's word for where it lies."""

import json

import pytest
from lab.host import Host
from lab.livethin import FIRST, LATER, UNITS, Found

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def found(host: Host) -> list[Found]:
    answer = host.directory / "thin.json"
    host.run_module("lab.livethin", str(answer))
    return [Found(**row) for row in json.loads(answer.read_text())]


def test_every_block_of_a_volume_and_of_its_snapshot_is_at_its_address(found: list[Found]) -> None:
    volume, snapshot = found
    assert volume.notes == snapshot.notes == []
    assert (volume.pieces, volume.different) == (len({*FIRST, *LATER}), 0)
    assert (snapshot.pieces, snapshot.different) == (len(FIRST), 0)


def test_what_both_have_is_shared_and_what_neither_has_is_a_hole(found: list[Found]) -> None:
    volume, snapshot = found
    assert volume.shared == sorted({*FIRST} - {*LATER})
    assert snapshot.shared == sorted(FIRST)
    assert volume.holes == sorted({*range(UNITS)} - {*FIRST, *LATER})
    assert snapshot.holes == sorted({*range(UNITS)} - {*FIRST})


def test_thin_dump_and_the_metadata_snapshot_say_the_same(found: list[Found]) -> None:
    for one in found:
        assert one.blocks == one.witness == one.held == one.pieces
