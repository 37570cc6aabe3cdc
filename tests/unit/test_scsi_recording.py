"""A real recording of SCSI and virtio-blk disks in one VM, reported on offline: tests/data/scsi.vio (make_scsi.py)."""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest
from lab.witness import Findings, examine
from tests.samples import ios_of

from vio.layer import Op
from vio.recording import Recording
from vio.reporter import stream
from vio.schema import OPS

SCSI = Path(__file__).parents[1] / "data" / "scsi.vio"


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return examine(SCSI, tmp_path_factory.mktemp("scsi") / "ios.parquet")


def test_every_io_is_whole_and_adds_up(findings: Findings) -> None:
    assert findings.io_count > 300
    assert findings.whole_count == findings.exact_count == findings.io_count
    assert (findings.losses, findings.lacks) == ({}, {})
    assert findings.checked > findings.io_count
    assert findings.disagree == 0


def test_each_disk_has_the_ios_that_the_guest_counted_on_it(findings: Findings) -> None:
    counted = json.loads((SCSI / "guest.json").read_text())
    models = [disk.model for disk in Recording.open(SCSI).manifest.target.disks]
    assert models == ["virtio-scsi: scsi-hd", "virtio-blk", "virtio-scsi: scsi-hd"]
    for number, numbers in enumerate(counted.values()):
        ios = findings.ios.filter(pc.equal(findings.ios["disk"], number))
        by_op = {op: ios.filter(pc.equal(ios["op"], number)) for number, op in enumerate(OPS)}
        written = sum(pc.sum(by_op[op]["bytes"]).as_py() or 0 for op in (Op.WRITE, Op.WRITE_ZEROES))
        assert numbers == [
            by_op[Op.READ].num_rows,
            pc.sum(by_op[Op.READ]["bytes"]).as_py(),
            written,
            by_op[Op.DISCARD].num_rows,
            by_op[Op.FLUSH].num_rows,
        ]


def test_a_durable_write_has_the_flush_in_it(findings: Findings) -> None:
    ios = findings.ios
    durable = ios.filter(pc.and_(pc.equal(ios["disk"], 0), pc.greater_equal(ios["offset"], 64 << 20)))
    assert durable.num_rows == 16
    assert pc.all(pc.greater(durable["qemu_device_between_ns"], 0)).as_py()


@pytest.mark.parametrize("events", [300, 700, 3000])
def test_windows_of_any_size_give_the_same_ios(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    at_once = ios_of(SCSI)
    monkeypatch.setattr(stream, "WINDOW", events)
    assert ios_of(SCSI).equals(at_once)


def test_without_the_accounting_no_call_is_guessed(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(SCSI, tmp_path / "scsi.vio"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["points"] = [point for point in manifest["points"] if point["name"] != "scsi_acct"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    ios = ios_of(copy)
    is_plain = pc.equal(ios["disk"], 1)
    assert pc.all(ios.filter(is_plain)["is_whole"]).as_py()
    assert not pc.any(ios.filter(pc.invert(is_plain))["is_whole"]).as_py()
