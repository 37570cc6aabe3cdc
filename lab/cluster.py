"""An OCFS2 cluster (o2cb): two lab hosts, one shared disk, a private wire; the volume is mounted on both."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.host import Host, LabError
from lab.hostmachine import HostDisk, Wire
from lab.volumes import PLACE

_NAME = "lab"
DEVICE = "/dev/nvme0n1"
"""The shared disk, on both."""
_MKFS = f"mkfs.ocfs2 -q -F --cluster-stack=o2cb --cluster-name={_NAME} -N 4 -C 64K -b 4K {DEVICE}"
_SETTLE_S = 10.0
_SCRIPT_S = 120.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two hosts that are up, node 0 and node 1; the volume is mounted on both at `directory`."""

    hosts: tuple[Host, Host]
    directory: Path = PLACE


@contextlib.contextmanager
def cluster(disk: Path, *, memory_mib: int = 1024, cpus: int = 1, limit_s: int = 1800) -> Iterator[Cluster]:
    """Boot two hosts on one disk, and make a volume there that both mount. All on the disk is lost.

    Raises:
        LabError: a host did not come up, or the cluster did not; the message says how.
    """
    # a volume with another kind of heartbeat in a disk's old content would keep mkfs's flag for it
    size_bytes = disk.stat().st_size
    with disk.open("r+b") as file:
        file.truncate(0)
        file.truncate(size_bytes)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vio-wire-")))
        hosts = tuple(
            Host(
                [HostDisk(disk, is_shared=True)],
                name=f"node{number}",
                nic=Wire(folder / "wire", mac=f"52:54:00:4c:41:{number:02x}", listens=number == 0),
                memory_mib=memory_mib,
                cpus=cpus,
                limit_s=limit_s,
            )
            for number in range(2)
        )
        for host in hosts:  # at the same time: each takes a processor
            stack.callback(host.end)
            host.begin()
            _wait_for(folder / "wire", host)
        for host in hosts:
            stack.enter_context(host)
        first, second = hosts
        _on_both(first, second, _join_scripts())
        first.run(_MKFS, _SCRIPT_S)
        mount = f"mkdir -p {PLACE} && mount -t ocfs2 {DEVICE} {PLACE}"
        _on_both(first, second, (mount, mount))
        try:
            yield Cluster((first, second))
        finally:
            with contextlib.suppress(LabError):
                _on_both(first, second, (f"umount {PLACE}",) * 2)


def _wait_for(socket: Path, host: Host) -> None:
    deadline_s = time.monotonic() + _SETTLE_S
    while not socket.exists():
        host.check()
        if time.monotonic() > deadline_s:
            raise host.error("the wire between the hosts is not there")
        time.sleep(_POLL_S)


def _on_both(first: Host, second: Host, scripts: tuple[str, str]) -> None:
    jobs = [host.start(script, _SCRIPT_S) for host, script in zip((first, second), scripts, strict=True)]
    for job in jobs:
        job.wait()


def _join_scripts() -> tuple[str, str]:
    nodes = "".join(
        f"node:\n\tip_port = 7777\n\tip_address = {_address(number)}\n\tnumber = {number}\n"
        f"\tname = node{number}\n\tcluster = {_NAME}\n\n"
        for number in range(2)
    )
    configuration = f"cluster:\n\tnode_count = 2\n\tname = {_NAME}\n\n{nodes}"
    return _join_script(0, configuration), _join_script(1, configuration)


def _join_script(number: int, configuration: str) -> str:
    return f"""set -e
modprobe --all virtio_net nvme ocfs2 ocfs2_stack_o2cb
ip address add {_address(number)}/24 dev eth0
ip link set eth0 up
mkdir -p /etc/ocfs2
cat > /etc/ocfs2/cluster.conf <<'END'
{configuration}END
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
echo o2cb > /sys/fs/ocfs2/cluster_stack
o2cb register-cluster {_NAME}
"""


def _address(number: int) -> str:
    return f"10.76.65.{number + 1}"
