"""A guest on KVM is recorded whole: images on OCFS2 on NVMe and on dm-linear, on ext4 on dm-crypt and a mirror."""

from dataclasses import replace
from pathlib import Path

import pytest
from lab.host import Host
from lab.load import KIB, FioJob, Load, fio
from lab.scenario import Image, Scenario, record_on
from lab.session import Outcome
from lab.volumes import FileSystem, Stack
from lab.witness import Findings, Traffic, device_traffic, examine, guest_differences

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

JOBS = (
    FioJob("write", io_count=64, io_bytes=64 * KIB, depth=4),
    FioJob("randrw", io_count=200, depth=8, span_bytes=4 << 20, flush_every=20),
)
LOAD = Load(
    "lab",
    tuple(fio(*(replace(job, disk=disk) for disk in ("vda", "vdb", "vdc", "vdd", "vde"))) for job in JOBS),
)
IMAGES = (
    Image(Stack.PLAIN, FileSystem.OCFS2),
    Image(Stack.LINEAR, FileSystem.OCFS2),
    Image(Stack.CRYPT, FileSystem.EXT4),
    Image(Stack.RAID1, FileSystem.EXT4),
    Image(Stack.NVME_PATHS, FileSystem.EXT4),
)
MISSED_LIMIT = 5
LACKS_OF_A_MISS = 2
"""Without the end of a file system's work that of the system call around it is not known either."""
IO_COUNT = len(IMAGES) * sum(job.io_count for job in JOBS)


@pytest.fixture(scope="session")
def outcome(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return record_on(host, Scenario(LOAD, IMAGES), tmp_path_factory.mktemp("lab") / "guest.vio")


@pytest.fixture(scope="session")
def findings(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return examine(outcome.recording, Path(tmp_path_factory.mktemp("ios")) / "ios.parquet")


def test_every_io_of_the_guest_is_recorded(outcome: Outcome, findings: Findings) -> None:
    assert guest_differences(findings.ios, outcome) == []
    assert findings.io_count >= IO_COUNT
    # The kernel leaves out a point that an interrupt hits within the same point's program: vio counts it.
    assert set(findings.losses) <= {"missed"}
    assert findings.whole_count >= findings.io_count - missed(findings)


def missed(findings: Findings) -> int:
    count = findings.losses.get("missed", 0)
    assert count < MISSED_LIMIT
    return count


def test_every_ios_times_add_up_and_its_way_through_qemu_is_known(findings: Findings) -> None:
    assert findings.exact_count == findings.io_count
    assert findings.disagree == 0
    for name in ("t_accept_ns", "t_push_ns", "latency_ns"):
        assert findings.ios[name].null_count == 0, name


def test_what_is_lacking_is_below_qemu(findings: Findings) -> None:
    # OCFS2 does its direct IO without iomap's tracepoints: between io_submit and the bios nothing may be seen.
    beyond = set(findings.lacks) - {"what the kernel did with an asynchronous request"}
    assert sum(findings.lacks[lack] for lack in beyond) <= LACKS_OF_A_MISS * missed(findings)


def test_the_devices_bytes_are_what_the_kernel_counted(outcome: Outcome) -> None:
    for name, stats in outcome.devices.items():
        if name.startswith("nvme"):  # a device of the mapper has no requests of its own
            assert device_traffic(outcome, name) == Traffic.counted(stats)
