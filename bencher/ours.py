"""What a recording says of its IOs, in the words of a load's own figures; and of each run, for the noise."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.bencher.witness import Told
from vio.reporter.iofile import io_tables
from vio.schema import OPS

_NS = 1_000_000_000
_STEADY = (0.01, 0.99)  # of the begins: a guest that boots reads its disk long before the load does


def told_by(recording: Path) -> tuple[Told, ...]:
    """Return count, rate and latencies of each operation on all disks of a recording, of IOs that have ended.

    Raises:
        RecordingError: it cannot be read.
    """
    tables = list(io_tables(recording, ("op", "begin_ns", "latency_ns")))
    if not tables:
        return ()
    table = pa.concat_tables(tables)
    table = table.filter(pc.is_valid(table["latency_ns"]))
    ops = table["op"].to_numpy()
    begin_ns, latency_ns = table["begin_ns"].to_numpy(), table["latency_ns"].to_numpy()
    found = []
    for number in np.unique(ops):
        of_op = ops == number
        found.append(_told(str(OPS[number]), begin_ns[of_op], latency_ns[of_op]))
    return tuple(found)


def _told(op: str, begin_ns: np.ndarray, latency_ns: np.ndarray) -> Told:
    first_ns, last_ns = np.quantile(begin_ns, _STEADY)
    p50_ns, p99_ns = np.quantile(latency_ns, (0.5, 0.99))
    steady = len(latency_ns) * (_STEADY[1] - _STEADY[0])
    iops = float(steady * _NS / (last_ns - first_ns)) if last_ns > first_ns else None
    return Told(op, len(latency_ns), iops, float(latency_ns.mean()), float(p50_ns), float(p99_ns))
