"""Make tests/data/opened anew: file systems opened, recorded on lab hosts (examples/ocfs2-demo and lab/contend.py).

`.venv/bin/python -m tests.data.make_opened [FILE-SYSTEM:KIND... | nodes]` from the checkout; without words all of it,
which takes half an hour.
"""

import sys
from itertools import groupby
from pathlib import Path

from lab.cluster import cluster
from lab.contend import contend
from lab.host import Host
from lab.hostmachine import HostDisk, make_disk
from lab.opened import record_opened
from lab.volumes import FileSystem
from tests.data.fixture import run, trim

OPENED = Path(__file__).parent / "opened"
LIMIT_BYTES = 80_000
NODES = "nodes"
ALL = ("ocfs2:write", "ocfs2:read", "ocfs2:sync", "ocfs2:native", "ext4:new", "xfs:new", "btrfs:new", NODES)


def main(words: list[str]) -> None:
    """Record what is asked for, and keep what a report needs."""
    wanted = [word.partition(":") for word in words or ALL]
    found: list[Path] = []
    for is_cluster, some in groupby(wanted, lambda word: word[0] == NODES):
        disk = make_disk(4 << 30)
        try:
            if is_cluster:
                with cluster(disk, memory_mib=1536) as both:
                    found += contend(both, OPENED, echo=sys.stderr.buffer)
            else:
                with Host([HostDisk(disk)], limit_s=7200) as host:
                    for name, kinds in groupby(some, lambda word: word[0]):
                        kind_names = [kind for _, _, kind in kinds]
                        made = record_opened(host, FileSystem(name), kind_names, OPENED, echo=sys.stderr.buffer)
                        found += made.values()
        finally:
            disk.unlink()
    for recording in found:
        trim(recording, LIMIT_BYTES)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
