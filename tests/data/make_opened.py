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

from vio.errors import VioError

OPENED = Path(__file__).parent / "opened"
KEPT = {"manifest.json", "events", "losses.parquet", "maps.parquet", "log.txt"}
LIMIT_BYTES = 80_000
NODES = "nodes"
ALL = ("ocfs2:write", "ocfs2:read", "ocfs2:sync", "ocfs2:native", "ext4:new", "xfs:new", "btrfs:new", NODES)


def main(words: list[str]) -> int:
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
        _trim(recording)
    return 0


def _trim(recording: Path) -> None:
    for path in recording.iterdir():
        if path.name not in KEPT:
            path.unlink()
    size_bytes = sum(file.stat().st_size for file in recording.rglob("*") if file.is_file())
    if size_bytes > LIMIT_BYTES:
        raise VioError(f"{recording.name} is no good: {size_bytes:,} bytes")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VioError as error:
        sys.exit(f"make_opened: {error}")
