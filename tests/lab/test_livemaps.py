"""Maps of live volumes: what the guest wrote is read at the device's address that the map gives."""

import json
import re

import pytest
from lab.host import Host
from lab.livemaps import CLUSTER, STACKS, WRITTEN, Checked, make_stamped
from lab.volumes import Stack

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

DISK = re.compile(r"nvme\d+n1 ")
COPIES = {
    Stack.RAID1: 2,
    Stack.RAID10: 2,
    Stack.RAID10_NEAR3: 3,
    Stack.RAID10_FAR: 2,
    Stack.RAID10_OFFSET: 2,
}


@pytest.fixture(scope="session")
def found(host: Host) -> dict[str, Checked]:
    directory = host.directory / "maps"
    directory.mkdir()
    make_stamped(directory / "stamped.qcow2")
    answer = directory / "answer.json"
    host.run_module("lab.livemaps", str(directory / "stamped.qcow2"), str(answer))
    return {row["stack"]: Checked(**row) for row in json.loads(answer.read_text())}


def test_every_piece_on_every_stack_is_at_its_address(found: dict[str, Checked]) -> None:
    assert list(found) == list(STACKS)
    written = len(WRITTEN) * CLUSTER
    for stack, checked in found.items():
        assert checked.notes == [], stack
        assert checked.pieces > 0
        assert checked.different == 0, stack
        lowest = {place: size for place, size in checked.bytes_at.items() if DISK.match(place)}
        if stack == Stack.CRYPT:
            assert checked.bytes_at == {"dm-0 0": written}
            continue
        assert sum(lowest.values()) == COPIES.get(Stack(stack), 1) * written, stack
        assert len({place.split()[0] for place in lowest}) == Stack(stack).disk_count, stack


def test_a_namespace_of_two_paths_is_shown_with_both(found: dict[str, Checked]) -> None:
    namespace, *paths = found[Stack.NVME_PATHS].devices
    shown = re.fullmatch(r"(/dev/nvme\d)n1", namespace)
    assert shown
    assert [re.sub(r"c\d", "cX", path) for path in paths] == [f"{shown[1]}cXn1"] * 2
    assert len(set(paths)) == 2


def test_an_address_of_ciphertext_is_that_of_the_clear_text(found: dict[str, Checked]) -> None:
    assert found[Stack.CRYPT].encrypted > 10


def test_ocfs2s_tree_is_read_alike_by_kernel_debugfs_and_vio(found: dict[str, Checked]) -> None:
    checked = found[Stack.PLAIN]
    assert checked.disagree == []
    assert checked.depth >= 2
    assert checked.extents > 600
