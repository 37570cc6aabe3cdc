"""Two hosts share a volume: a cluster of OCFS2, its locks going over the wire."""

import pytest
from lab.cluster import cluster
from lab.hostmachine import make_disk

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_what_one_node_writes_the_other_reads() -> None:
    disk = make_disk(2 << 30)
    try:
        with cluster(disk) as both:
            first, second = both.hosts
            first.run(f"echo from node 0 > {both.directory}/note && sync")
            assert second.run(f"cat {both.directory}/note").stdout == "from node 0\n"
            second.run(f"echo from node 1 >> {both.directory}/note && sync")
            assert first.run(f"cat {both.directory}/note").stdout == "from node 0\nfrom node 1\n"
    finally:
        disk.unlink()
