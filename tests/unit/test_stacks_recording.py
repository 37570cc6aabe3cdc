"""A real recording of a guest whose disks lie on all kinds of mapped devices (tests/data/make_stacks.py)."""

import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.commandline import Vio, vio
from tests.data.make_stacks import IO_COUNT, OF_DISKS, STACKS
from tests.samples import ios_of

from vio.layer import Phase, Stage
from vio.manifest import StretchInfo
from vio.recording import Recording
from vio.reporter import stream
from vio.reporter.block import read_blocks
from vio.reporter.events import Events, Window
from vio.reporter.parts import PartsReader
from vio.reporter.steps import below_of
from vio.reporter.stream import Join, point_numbers
from vio.schema import EVENTS, time_column

__all__ = ["vio"]

MS = 1_000_000
DELAY_MS = 5  # lab/volumes.py
WRITE = 1
STEPS = {
    "linear": {"dm-0 (linear)", "dm-0 (linear) up", "nvme0n1"},
    "striped": {"dm-1 (striped)", "dm-1 (striped) up", "nvme1n1", "nvme2n1"},
    "delay": {"dm-2 (delay)", "dm-2 (delay) up", "nvme3n1"},
    "crypt": {"dm-3 (crypt)", "dm-3 (crypt) up", "nvme4n1"},
    "raid0": {"md0 (raid0)", "md0 (raid0) up", "nvme5n1", "nvme6n1"},
    "raid1": {"md1 (raid1)", "md1 (raid1) up", "nvme7n1", "nvme8n1"},
    "thin": {f"{name}{up}" for name in ("dm-7 (thin)", "dm-6 (thin-pool)", "dm-5 (linear)") for up in ("", " up")}
    | {"nvme9n1"},
    "multipath": {"dm-8 (multipath)"},  # its requests are handed on, not its bios
    "partition": {"nvme11n1"},
}


def joined() -> tuple[pa.Table, pa.Table]:
    """Join the recording: its IOs, and the spans of parts."""
    recording = Recording.open(STACKS)
    join = Join(recording, parts=PartsReader((), recording.manifest.devices))
    ios, stages = [], []
    for table in join.tables():
        ios.append(table)
        assert join.stages is not None
        stages.append(join.stages)
    return pa.concat_tables(ios), pa.concat_tables(stages)


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table]:
    return joined()


def test_every_io_is_followed_through_every_stack(tables: tuple[pa.Table, pa.Table]) -> None:
    ios, _ = tables
    assert ios.num_rows >= IO_COUNT * len(OF_DISKS)
    assert all(ios["is_whole"].to_pylist())
    assert not any(ios["is_ambiguous"].to_pylist())


def test_each_device_of_a_stack_is_a_part_of_block(tables: tuple[pa.Table, pa.Table]) -> None:
    ios, stages = tables
    disk = dict(zip(ios["io"].to_pylist(), ios["disk"].to_pylist(), strict=True))
    found = defaultdict(set)
    for row in stages.to_pylist():
        assert tuple(Stage)[row["stage"]] is Stage.BLOCK
        found[str(OF_DISKS[disk[row["io"]]])].add(row["part"])
    assert dict(found) == STEPS


def test_the_steps_add_up_to_the_blocks_own_time(tables: tuple[pa.Table, pa.Table]) -> None:
    ios, stages = tables
    own = np.zeros(ios.num_rows, dtype=np.int64)
    place = {io: at for at, io in enumerate(ios["io"].to_pylist())}
    for row in stages.to_pylist():
        own[place[row["io"]]] += row["own_ns"]
    block = sum(ios[time_column(Stage.BLOCK, phase)].fill_null(0).to_numpy() for phase in Phase)
    assert own.tolist() == block.tolist()


def test_the_delay_is_the_delay_targets_own_time(tables: tuple[pa.Table, pa.Table]) -> None:
    _, stages = tables
    waits = [row for row in stages.to_pylist() if row["part"] == "dm-2 (delay)"]
    assert min(row["end_ns"] - row["begin_ns"] for row in waits) >= DELAY_MS * MS
    assert sorted(row["own_ns"] for row in waits)[len(waits) // 2] >= DELAY_MS * MS


def test_a_write_to_a_mirror_goes_to_both_legs(tables: tuple[pa.Table, pa.Table]) -> None:
    ios, stages = tables
    is_write = dict(zip(ios["io"].to_pylist(), (ios["op"].to_numpy() == WRITE).tolist(), strict=True))
    legs = defaultdict(set)
    for row in stages.to_pylist():
        if row["part"] in ("nvme7n1", "nvme8n1"):
            legs[row["io"]].add(row["part"])
    writes = [found for io, found in legs.items() if is_write[io]]
    assert writes
    assert all(len(found) == 2 for found in writes)


@pytest.mark.parametrize("events", [500, 3000])
def test_windows_change_nothing(
    tables: tuple[pa.Table, pa.Table], monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    whole_ios = ios_of(STACKS)
    monkeypatch.setattr(stream, "WINDOW", events)
    _, stages = joined()
    assert ios_of(STACKS).equals(whole_ios)
    columns = ["begin_ns", "end_ns", "part", "own_ns"]
    expected = tables[1].select(columns).sort_by([(name, "ascending") for name in columns])
    assert stages.select(columns).sort_by([(name, "ascending") for name in columns]).equals(expected)


def test_targets_that_remap_without_a_word_are_followed_by_their_tables() -> None:
    recording = Recording.open(STACKS)
    devices = {one.name: one for one in recording.manifest.devices}
    numbers, _ = point_numbers(recording.manifest.points)
    table = pa.concat_tables(list(recording.tables())).sort_by("ts_ns")
    events = Events(**{column.name: table[column.name].to_numpy() for column in EVENTS})
    told = below_of(recording.manifest.devices)
    expected = read_blocks(Window(events, numbers), told)
    mapped = [devices[name] for name in ("dm-2", "dm-3")]  # delay, crypt: both from the begin of their disk on
    is_silent = (events.point == numbers["bio_remap"]) & np.isin(events.bytes, [one.kernel_dev for one in mapped])
    stretches = tuple((one.kernel_dev, StretchInfo(0, one.size_bytes, one.parents[0], 0)) for one in mapped)
    silent = Window(events.take(~is_silent), numbers)
    found = read_blocks(silent, replace(told, stretches=stretches))
    assert is_silent.sum() > IO_COUNT
    assert found.bios.upper.tolist() == expected.bios.upper.tolist()
    assert (read_blocks(silent, told).bios.upper >= 0).sum() < (expected.bios.upper >= 0).sum()


def test_the_report_shows_them_unasked(vio: Vio, tmp_path: Path) -> None:
    recording = tmp_path / "stacks.vio"
    shutil.copytree(STACKS, recording)
    code, out, _ = vio("report", str(recording))
    assert code == 0
    assert "dm-3 (crypt) up" in out
    assert "points on the way" not in out
    assert "nvme device" not in out
    code, out, _ = vio("report", str(recording), "--stages", "--disk", "virtio0")
    assert "nvme device" in out
    assert "nvme completion" in out
