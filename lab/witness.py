"""Check a recording against what others counted: the guest, the host's devices, and the recording's own sums."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lab.disk import DiskStats
from lab.session import Outcome
from vio.layer import Op, Phase, Stage
from vio.losses import count_by_kind
from vio.recording import Recording
from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Unreached
from vio.schema import OPS, time_column

TIMES = (*(time_column(stage, phase) for stage in Stage for phase in Phase), "unattributed_ns")
_WRITE_OPS = (0, 2, 3)  # of the block layer's points: write zeroes are "other" to kernels before 6.13, 3 carries data


@dataclass(frozen=True, slots=True)
class Findings:
    """What a report says of a recording. `checked` links have two kinds of evidence, which differ on `disagree`."""

    io_count: int
    whole_count: int
    exact_count: int
    losses: dict[str, int]
    checked: int
    disagree: int
    lacks: dict[str, int]
    unreached: tuple[Unreached, ...]
    writeback: WritebackFigures | None
    ios: pa.Table


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a device read, wrote and discarded."""

    read_bytes: int
    write_bytes: int
    discard_bytes: int

    @classmethod
    def counted(cls, stats: DiskStats) -> "Traffic":
        """Take them from the kernel's statistics."""
        return cls(stats.read_bytes, stats.write_bytes, stats.discard_bytes)


def examine(path: Path, table_path: Path | None = None) -> Findings:
    """Report on a recording, its table of IOs written into it or to `table_path`; return the figures that must hold."""
    found = report(path, ReportOptions(table_path=table_path))
    if found.table_path is None:
        raise AssertionError(f"no table of IOs: {found.notes}")
    ios = pq.read_table(found.table_path)
    total = found.summary.total()
    rows = found.quality.rows
    return Findings(
        total.io_count,
        total.whole_count,
        exact_count(ios),
        count_by_kind(found.recorded.losses),
        sum(row.checked for row in rows),
        sum(row.disagree for row in rows),
        dict(found.summary.lacks),
        tuple(found.unreached()),
        found.writeback,
        ios,
    )


def exact_count(ios: pa.Table) -> int:
    """Count the IOs whose times in the layers add up to their latency, to the nanosecond."""
    ended = ios.filter(pc.is_valid(ios["latency_ns"]))
    total = np.zeros(ended.num_rows, dtype=np.int64)
    for name in TIMES:
        total += pc.fill_null(ended[name], 0).to_numpy()
    return int((total == ended["latency_ns"].to_numpy()).sum())


def guest_differences(ios: pa.Table, outcome: Outcome) -> list[str]:
    """Compare the recorded IOs with what the guest counted on each of its disks; empty if all is equal."""
    differences = []
    for number, (name, stats) in enumerate(outcome.guest.items()):
        recorded, counted = _recorded(ios.filter(pc.equal(ios["disk"], number))), _counted(stats)
        differences += [
            f"{name} {what}: recorded {recorded[what]}, the guest counted {counted[what]}"
            for what in counted
            if recorded[what] != counted[what]
        ]
    return differences


def device_traffic(outcome: Outcome, name: str) -> Traffic:
    """Add up the requests that the host's device `name` completed while the outcome's statistics were counted."""
    recording = Recording.open(outcome.recording)
    device = next(one for one in recording.manifest.devices if one.name == name)
    point = next(one.number for one in recording.manifest.points if one.name == "rq_complete")
    bytes_by_op = np.zeros(16, dtype=np.int64)
    for table in recording.tables(("ts_ns", "point", "flags", "space", "bytes")):
        ts_ns = table["ts_ns"].to_numpy()
        mine = (table["point"].to_numpy() == point) & (table["space"].to_numpy() == device.kernel_dev)
        mine &= (ts_ns >= outcome.from_ns) & (ts_ns <= outcome.to_ns)
        np.add.at(bytes_by_op, table["flags"].to_numpy()[mine], table["bytes"].to_numpy()[mine])
    return Traffic(int(bytes_by_op[1]), int(bytes_by_op[list(_WRITE_OPS)].sum()), int(bytes_by_op[4]))


def _recorded(ios: pa.Table) -> dict[str, int]:
    op, length = ios["op"].to_numpy(), ios["bytes"].to_numpy()
    count = {one: int((op == number).sum()) for number, one in enumerate(OPS)}
    total = {one: int(length[op == number].sum()) for number, one in enumerate(OPS)}
    return {
        "reads": count[Op.READ],
        "bytes read": total[Op.READ],
        "writes": count[Op.WRITE] + count[Op.WRITE_ZEROES],
        "bytes written": total[Op.WRITE] + total[Op.WRITE_ZEROES],
        "discards": count[Op.DISCARD],
        "bytes discarded": total[Op.DISCARD],
        "flushes": count[Op.FLUSH],
    }


def _counted(stats: DiskStats) -> dict[str, int]:
    return {
        "reads": stats.read_ios,
        "bytes read": stats.read_bytes,
        "writes": stats.data_write_ios,
        "bytes written": stats.write_bytes,
        "discards": stats.discard_ios,
        "bytes discarded": stats.discard_bytes,
        "flushes": stats.flush_ios,
    }
