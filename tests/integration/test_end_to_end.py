"""Real guests, recorded and reported on: every IO followed, and all that others counted is what was recorded."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest
from lab.disk import Aio, Cache, Disk, Format, make_image
from lab.guest import Guest
from lab.load import DEMO_DISK_BYTES, DEMO_LOAD, KIB, MIB, FioJob, Load, bench_load, fio
from lab.session import Outcome, record_guest
from lab.targets import TARGETS
from lab.witness import Findings, Traffic, device_traffic, examine, guest_differences

from vio.layer import Stage

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

_SHARED_SLACK_BYTES = MIB
"""Other processes use the machine's own disk too: what is in flight just as it is counted may differ."""

TWO_DISKS = Load(
    "two",
    (
        fio(FioJob("write", 32, io_bytes=MIB, depth=4), FioJob("write", 32, io_bytes=MIB, depth=4, disk="vdb")),
        fio(
            FioJob("randrw", 800, span_bytes=32 * MIB, flush_every=100),
            FioJob("randrw", 800, io_bytes=16 * KIB, span_bytes=32 * MIB, disk="vdb", read_percent=30),
        ),
    ),
)
BESIDE = Load("beside", (fio(FioJob("randrw", 100_000, depth=4, rate=200)), "sleep 60"))


@dataclass(frozen=True, slots=True)
class Scene:
    """A guest to record: where its images lie, its disks, its load, and whether another VM runs beside it."""

    target: str
    disks: Callable[[Path], list[Disk]]
    load: Load
    has_neighbour: bool = False
    is_direct: bool = True


@dataclass(frozen=True, slots=True)
class Played:
    """A scene that was recorded, and what the report found in it."""

    scene: Scene
    outcome: Outcome
    findings: Findings


def _one_disk(aio: Aio, cache: Cache) -> Callable[[Path], list[Disk]]:
    return lambda folder: [Disk(make_image(folder / "disk.qcow2", DEMO_DISK_BYTES), aio=aio, cache=cache)]


def _two_disks(folder: Path) -> list[Disk]:
    first = make_image(folder / "first.qcow2", 256 * MIB)
    second = make_image(folder / "second.raw", 256 * MIB, Format.RAW)
    return [
        Disk(first, aio=Aio.IO_URING, has_iothread=True),
        Disk(second, Format.RAW, aio=Aio.THREADS, has_iothread=True, block_bytes=4096),
    ]


SCENES = {
    "demo-native-none-on-xfs-loop": Scene("xfs-loop", _one_disk(Aio.NATIVE, Cache.NONE), DEMO_LOAD),
    "two-disks-and-iothreads-beside-a-vm": Scene("root", _two_disks, TWO_DISKS, has_neighbour=True),
    "threads-writeback": Scene("root", _one_disk(Aio.THREADS, Cache.WRITEBACK), bench_load(2000), is_direct=False),
}


@pytest.fixture(scope="module", params=SCENES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    scene = SCENES[request.param]
    output = tmp_path_factory.mktemp("scene") / "scene.vio"
    with TARGETS[scene.target]() as target, _neighbour(scene):
        outcome = record_guest(scene.disks(target.directory), scene.load, output, devices=target.devices)
    return Played(scene, outcome, examine(output))


@contextlib.contextmanager
def _neighbour(scene: Scene) -> Iterator[None]:
    if not scene.has_neighbour:
        yield
        return
    with TARGETS[scene.target]() as target:
        image = make_image(target.directory / "beside.qcow2", 256 * MIB)
        with Guest([Disk(image)], BESIDE, name="beside", wait_for_go=True) as guest:
            guest.go()
            yield
            assert guest.steps == []


def test_nothing_is_lost_and_all_times_add_up(played: Played) -> None:
    findings = played.findings
    assert findings.losses == {}
    assert findings.io_count > 1000
    assert findings.exact_count == findings.io_count
    assert findings.whole_count >= 0.995 * findings.io_count, findings.lacks


def test_the_guest_counted_what_was_recorded(played: Played) -> None:
    assert guest_differences(played.findings.ios, played.outcome) == []


def test_the_devices_moved_the_bytes_that_were_recorded(played: Played) -> None:
    for name, stats in played.outcome.devices.items():
        recorded, counted = device_traffic(played.outcome, name), Traffic.counted(stats)
        if name.startswith("loop"):
            assert recorded == counted
        assert recorded.read_bytes == pytest.approx(counted.read_bytes, abs=_SHARED_SLACK_BYTES)
        assert recorded.write_bytes == pytest.approx(counted.write_bytes, abs=_SHARED_SLACK_BYTES)


def test_addresses_and_identities_agree(played: Played) -> None:
    assert played.findings.checked > played.findings.io_count
    assert played.findings.disagree <= 0.001 * played.findings.checked


def test_every_io_on_sectors_of_4096_bytes_is_whole_and_placed(played: Played) -> None:
    if played.scene.load is not TWO_DISKS:
        return
    ios = played.findings.ios
    mine = ios.filter(pc.equal(ios["disk"], 1))
    assert mine.num_rows > 600
    assert all(pc.all(pc.equal(pc.bit_wise_and(mine[name], 4095), 0)).as_py() for name in ("offset", "bytes"))
    assert pc.all(mine["is_whole"]).as_py()
    assert pc.all(pc.greater_equal(mine["device_offset"], 0)).as_py()


def test_layers_that_are_not_reached_are_said_so(played: Played) -> None:
    gaps = {gap.stage: gap for gap in played.findings.unreached}
    if played.scene.is_direct:
        assert all(gap.count < 0.2 * gap.of for gap in gaps.values()), gaps
    else:
        assert gaps[Stage.DEVICE].count > 0.95 * gaps[Stage.DEVICE].of
        assert Stage.VFS not in gaps


def test_what_was_written_back_is_linked_to_the_ios_that_wrote_it(played: Played) -> None:
    found = played.findings.writeback
    if played.scene.is_direct:
        assert found is None
        return
    assert found
    assert found.cached_bytes >= 128 * MIB
    assert found.linked_bytes >= 0.99 * found.image_bytes
    assert found.linked_bytes + found.own_bytes + found.overwritten_bytes + found.left_bytes == found.cached_bytes


def test_requests_that_qemu_merged_are_followed_one_by_one(played: Played) -> None:
    if played.scene.load is not DEMO_LOAD:
        return
    ios = played.findings.ios
    merged = ios.filter(pc.greater_equal(ios["merged_into"], 0))
    assert merged.num_rows > 100
    assert pc.all(merged["is_whole"]).as_py()
