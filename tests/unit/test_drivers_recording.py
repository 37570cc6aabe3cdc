"""A real recording of a guest with its disks on virtio_blk, SCSI and NVMe; tests/data/make_drivers.py made it."""

from collections import defaultdict

import pyarrow as pa
import pytest
from tests.data.make_drivers import BUSES, DRIVERS, IO_COUNT

from vio.layer import Phase, Stage
from vio.recording import Recording
from vio.reporter.parts import PartsReader
from vio.reporter.stream import Join
from vio.schema import time_column

NAMES = "virtio_blk", "scsi", "nvme"
"""The drivers of the disks, in their order."""
DEVICE = tuple(Stage).index(Stage.DEVICE)


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table]:
    recording = Recording.open(DRIVERS)
    join = Join(recording, parts=PartsReader(recording.manifest.points, recording.manifest.devices))
    ios, stages = [], []
    for table in join.tables():
        ios.append(table)
        assert join.stages is not None
        stages.append(join.stages)
    return pa.concat_tables(ios), pa.concat_tables(stages)


def device_ns(ios: pa.Table) -> dict[int, int]:
    """Give the device's own time of each IO that has some."""
    columns = [ios[time_column(Stage.DEVICE, phase)].fill_null(0).to_pylist() for phase in Phase]
    total = {io: sum(times) for io, *times in zip(ios["io"].to_pylist(), *columns, strict=True)}
    return {io: time_ns for io, time_ns in total.items() if time_ns}


@pytest.mark.parametrize("disk", range(len(BUSES)), ids=BUSES)
def test_queueing_in_the_driver_and_time_in_the_device_add_up(tables: tuple[pa.Table, pa.Table], disk: int) -> None:
    ios, stages = tables
    mine = ios.filter(pa.compute.equal(ios["disk"], disk))
    parts: dict[int, dict[str, int]] = defaultdict(dict)
    for row in stages.to_pylist():
        if row["stage"] == DEVICE:
            parts[row["io"]][row["part"]] = parts[row["io"]].get(row["part"], 0) + row["own_ns"]
    total = device_ns(mine)
    assert len(total) > IO_COUNT // 2  # reads of what was never written reach no device
    for io, time_ns in total.items():
        assert set(parts[io]) <= {f"{NAMES[disk]} {what}" for what in ("queueing", "device", "completion")}
        assert parts[io][f"{NAMES[disk]} device"] > 0
        assert sum(parts[io].values()) == time_ns
    if NAMES[disk] != "nvme":  # which makes its command before the request is issued
        assert all(f"{NAMES[disk]} queueing" in parts[io] for io in total)
