"""The lab's guest does to its disk what its load says, by its own kernel's count."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.disk import Aio, Cache, Disk, DiskStats, make_image
from lab.guest import Guest, GuestError
from lab.load import DEMO_DISK_BYTES, KIB, MIB, FioJob, Load, fio
from lab.targets import TARGETS, Target

READS = FioJob("randread", io_count=300, io_bytes=4 * KIB)
WRITES = FioJob("randwrite", io_count=200, io_bytes=16 * KIB, flush_every=50)
TRIMS = FioJob("trim", io_count=4, io_bytes=MIB, depth=1)
LOAD = Load("known", (fio(WRITES), fio(READS), fio(TRIMS)))

HOWS = [
    pytest.param("root", Aio.NATIVE, Cache.NONE, id="root-native-none"),
    pytest.param("xfs-loop", Aio.IO_URING, Cache.NONE, id="xfs-loop-io_uring-none"),
    pytest.param("xfs-loop-tmpfs", Aio.THREADS, Cache.WRITEBACK, id="xfs-loop-tmpfs-threads-writeback"),
]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with TARGETS[request.param]() as made:
        yield made


@pytest.mark.live
@pytest.mark.beside
@pytest.mark.parametrize(("target", "aio", "cache"), HOWS, indirect=["target"])
def test_guest_counts_the_requests_of_its_load(target: Target, aio: Aio, cache: Cache) -> None:
    image = make_image(target.directory / "disk.qcow2", DEMO_DISK_BYTES)
    disk = Disk(image, aio=aio, cache=cache, has_iothread=True)
    with Guest([disk], LOAD, wait_for_go=True) as guest:
        assert guest.steps == []
        guest.go()
        stats = guest.wait()["vda"]
    assert (stats.read_ios, stats.read_bytes) == (READS.io_count, READS.io_count * READS.io_bytes)
    assert (stats.data_write_ios, stats.write_bytes) == (WRITES.io_count, WRITES.io_count * WRITES.io_bytes)
    assert (stats.discard_ios, stats.discard_bytes) == (TRIMS.io_count, TRIMS.io_count * TRIMS.io_bytes)
    assert stats.flush_ios == (WRITES.io_count - 1) // WRITES.flush_every
    assert stats.in_flight == 0


@pytest.mark.live
@pytest.mark.beside
def test_guest_has_the_disks_it_was_given(tmp_path: Path) -> None:
    disks = [
        Disk(make_image(tmp_path / name, 256 * MIB), aio=Aio.THREADS, cache=Cache.WRITEBACK) for name in ("a", "b")
    ]
    jobs = [FioJob("randwrite", 40, disk="vda"), FioJob("randread", 60, disk="vdb")]
    with Guest(disks, Load("two", (fio(*jobs),))) as guest:
        stats = guest.wait()
    assert {name: (disk.read_ios, disk.write_ios) for name, disk in stats.items()} == {
        "vda": (0, 40),
        "vdb": (60, 0),
    }


@pytest.mark.live
@pytest.mark.beside
def test_a_load_that_fails_is_an_error_that_names_the_command() -> None:
    with Guest([], Load("wrong", ("echo before", "false", "echo after"))) as guest:
        with pytest.raises(GuestError, match="failed with 1: false"):
            guest.wait()
        assert "before" in guest.console
        assert "after" not in guest.console


@pytest.mark.live
@pytest.mark.beside
def test_a_guest_that_is_left_is_ended() -> None:
    with Guest([], Load("idle", ("sleep 60",))) as guest:
        pid = guest.pid
    assert not Path(f"/proc/{pid}").exists()


def test_stats_are_read_and_subtracted_field_by_field() -> None:
    earlier = DiskStats.parse(" ".join("1" for _ in range(17)))
    later = DiskStats.parse(" ".join(str(number) for number in range(1, 18)))
    assert later.since(earlier) == DiskStats(*range(17))
