"""Two hosts share a volume: a cluster of OCFS2, its locks going over the wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import Cluster, cluster
from lab.contend import RW_LOCK, contend
from lab.hostmachine import make_disk
from tests.waits import waits_ns

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def both() -> Iterator[Cluster]:
    disk = make_disk(2 << 30)
    try:
        with cluster(disk, memory_mib=1536) as up:
            yield up
    finally:
        disk.unlink()


def test_what_one_node_writes_the_other_reads(both: Cluster) -> None:
    first, second = both.hosts
    first.run(f"echo from node 0 > {both.directory}/note && sync")
    assert second.run(f"cat {both.directory}/note").stdout == "from node 0\n"
    second.run(f"echo from node 1 >> {both.directory}/note && sync")
    assert first.run(f"cat {both.directory}/note").stdout == "from node 0\nfrom node 1\n"


@pytest.mark.long
def test_the_wait_for_a_lock_that_the_other_node_has_is_a_stage_of_its_own(both: Cluster, tmp_path: Path) -> None:
    alone, together = waits_ns(contend(both, tmp_path), RW_LOCK)
    assert max(alone[1:]) < max(together)
    assert sum(together) > 20 * sum(alone[1:])
