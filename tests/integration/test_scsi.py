"""Guests with SCSI disks, recorded and reported on: every IO followed, on its disk, and as the guest counted it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest
from lab.disk import Aio, Bus, Disk, Format, make_image
from lab.load import KIB, MIB, FioJob, Load, fio, write_zeroes
from lab.session import Outcome, record_guest
from lab.targets import TARGETS
from lab.witness import Findings, examine, guest_differences

from vio.recording import Recording

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SIZE_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class Scene:
    """A guest to record: its disks and its load."""

    disks: Callable[[Path], list[Disk]]
    load: Load


@dataclass(frozen=True, slots=True)
class Played:
    """A scene that was recorded, and what the report found in it."""

    outcome: Outcome
    findings: Findings


def mixed_load(*disks: str) -> Load:
    """Read, write and flush on all disks at once, sixteen deep; then discard and write zeroes, eight deep."""
    jobs = [
        FioJob("randrw", 500, (4 + 12 * (number % 2)) * KIB, span_bytes=32 * MIB, flush_every=40, disk=disk)
        for number, disk in enumerate(disks)
    ]
    filling = [FioJob("write", 16, MIB, depth=8, disk=disk) for disk in disks]
    trims = [FioJob("trim", 8, MIB, depth=8, offset_bytes=64 * MIB, disk=disk) for disk in disks]
    zeroes = [write_zeroes(at * MIB, MIB, may_unmap=at > 80, disk=disk) for disk in disks for at in (80, 90)]
    return Load("mixed", (fio(*filling), fio(*jobs), fio(*trims), *zeroes))


def _image(folder: Path, name: str, image_format: Format = Format.QCOW2) -> Path:
    return make_image(folder / name, SIZE_BYTES, image_format)


def _one_disk(folder: Path) -> list[Disk]:
    return [Disk(_image(folder, "one.qcow2"), bus=Bus.VIRTIO_SCSI, has_iothread=True, queue_count=2)]


def _two_on_one_adapter(folder: Path) -> list[Disk]:
    return [
        Disk(_image(folder, "first.qcow2"), aio=Aio.IO_URING, bus=Bus.VIRTIO_SCSI),
        Disk(_image(folder, "second.raw", Format.RAW), Format.RAW, Aio.THREADS, bus=Bus.VIRTIO_SCSI, block_bytes=4096),
    ]


def _two_adapters_beside_virtio_blk(folder: Path) -> list[Disk]:
    return [
        Disk(_image(folder, "a.qcow2"), bus=Bus.VIRTIO_SCSI, hba=0, has_iothread=True),
        Disk(_image(folder, "plain.qcow2"), aio=Aio.IO_URING, has_iothread=True),
        Disk(_image(folder, "b.raw", Format.RAW), Format.RAW, bus=Bus.VIRTIO_SCSI, hba=1),
    ]


SCENES = {
    "one-disk-iothread": Scene(_one_disk, mixed_load("sda")),
    "two-disks-on-one-adapter": Scene(_two_on_one_adapter, mixed_load("sda", "sdb")),
    "two-adapters-beside-virtio-blk": Scene(_two_adapters_beside_virtio_blk, mixed_load("sda", "vda", "sdb")),
}


@pytest.fixture(scope="module", params=SCENES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    scene = SCENES[request.param]
    output = tmp_path_factory.mktemp("scene") / "scene.vio"
    with TARGETS["root"]() as target:
        outcome = record_guest(scene.disks(target.directory), scene.load, output)
    return Played(outcome, examine(output))


def test_nothing_is_lost_and_all_times_add_up(played: Played) -> None:
    findings = played.findings
    assert findings.losses == {}
    assert findings.io_count > 500
    assert findings.exact_count == findings.io_count
    assert findings.whole_count >= 0.995 * findings.io_count, findings.lacks


def test_the_guest_counted_what_was_recorded_on_each_disk(played: Played) -> None:
    assert all(stats.discard_ios == 8 for stats in played.outcome.guest.values())
    assert guest_differences(played.findings.ios, played.outcome) == []


def test_addresses_and_identities_agree(played: Played) -> None:
    assert played.findings.checked > played.findings.io_count
    assert played.findings.disagree <= 0.001 * played.findings.checked


def test_the_way_begins_at_the_queue_and_the_models_are_named(played: Played) -> None:
    ios = played.findings.ios
    assert ios["t_accept_ns"].null_count == ios["t_push_ns"].null_count == ios["t_notify_ns"].null_count == 0
    assert pc.all(pc.greater_equal(ios["t_block_begin_ns"], ios["t_accept_ns"])).as_py()
    models = [disk.model for disk in Recording.open(played.outcome.recording).manifest.target.disks]
    expected = {"s": "virtio-scsi: scsi-hd", "v": "virtio-blk"}
    assert models == [expected[name[0]] for name in played.outcome.guest]
