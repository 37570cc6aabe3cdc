"""What the page draws besides a report's own figures: counted window by window, in constant memory."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.layer import Op, Phase, Stage
from vio.reporter.choice import Filter
from vio.reporter.columns import read_times
from vio.reporter.compiled import Ints
from vio.reporter.group import read_keys
from vio.reporter.html.axes import TimeAxis
from vio.reporter.html.flow import Flow, Sizes
from vio.reporter.html.heat import Heat, Places
from vio.reporter.recorded import Recorded
from vio.reporter.tally import add_up
from vio.schema import OPS, time_column

ALL = "all"
UNATTRIBUTED = "unattributed"
_FLUSH = OPS.index(Op.FLUSH)


class Series:
    """Over time by layer (`heats`, by stage, ALL or UNATTRIBUTED), by operation and disk, by address and by length."""

    def __init__(self, recorded: Recorded, choice: Filter) -> None:
        self.axis = TimeAxis.of(recorded, choice)
        self.heats: dict[str, Heat] = {}
        self.flows: dict[tuple[Op, int], Flow] = {}
        self.places: dict[int, Places] = {}
        self.sizes: dict[Op, Sizes] = {}
        self._stop_ns = recorded.stop_ns

    def add(self, ios: pa.Table) -> None:
        """Count the IOs of one table of schema.IOS."""
        for batch in ios.to_batches():
            if not batch.num_rows:
                continue
            self._add_flows(batch)
            has_unended = bool(batch.column("latency_ns").null_count)
            ended = batch.filter(pc.is_valid(batch.column("latency_ns"))) if has_unended else batch
            if ended.num_rows:
                self._add_heats(ended)
                self._add_places(ended)
                self._add_sizes(ended)

    def _add_flows(self, batch: pa.RecordBatch) -> None:
        keys = read_keys(batch)
        begins_ns = batch.column("begin_ns").to_numpy()
        lasts_ns = pc.fill_null(batch.column("latency_ns"), -1).to_numpy()
        ends_ns = np.where(lasts_ns < 0, np.maximum(self._stop_ns, begins_ns), begins_ns + lasts_ns)
        lengths = batch.column("bytes").to_numpy()
        for number, (op, disk) in enumerate(keys.groups):
            flow = self.flows.setdefault((OPS[op], disk), Flow.of(self.axis))
            mine = keys.codes == number
            flow.add(self.axis, begins_ns[mine], ends_ns[mine], lengths[mine])

    def _add_heats(self, ended: pa.RecordBatch) -> None:
        columns = self.axis.columns(ended.column("begin_ns").to_numpy())
        self._heat(ALL).add(columns, ended.column("latency_ns").to_numpy())
        named = {stage.value: [time_column(stage, phase) for phase in Phase] for stage in Stage}
        for name, parts in (named | {UNATTRIBUTED: ["unattributed_ns"]}).items():
            total, is_any = np.zeros(ended.num_rows, dtype=np.int64), np.zeros(ended.num_rows, dtype=np.bool_)
            for part in parts:
                column = ended.column(part)
                if column.null_count < ended.num_rows:
                    add_up(*read_times(column), total, is_any)
            if name == UNATTRIBUTED:
                is_any &= total > 0
            if is_any.any():
                self._heat(name).add(columns[is_any], total[is_any])

    def _add_places(self, ended: pa.RecordBatch) -> None:
        disks, offsets, lasts_ns = (ended.column(name).to_numpy() for name in ("disk", "offset", "latency_ns"))
        has_place = ended.column("op").to_numpy() != _FLUSH
        for disk in np.unique(disks).tolist():
            mine = has_place & (disks == disk)
            self.places.setdefault(disk, Places()).add(offsets[mine], lasts_ns[mine])

    def _add_sizes(self, ended: pa.RecordBatch) -> None:
        ops, lengths, lasts_ns = (ended.column(name).to_numpy() for name in ("op", "bytes", "latency_ns"))
        for op in np.unique(ops).tolist():
            if op != _FLUSH:
                mine = ops == op
                self.sizes.setdefault(OPS[op], Sizes()).add(lengths[mine], lasts_ns[mine])

    def _heat(self, name: str) -> Heat:
        if name not in self.heats:
            self.heats[name] = Heat.of(self.axis.count)
        return self.heats[name]


def means(values: Ints, width: int) -> list[float]:
    """Divide, and keep three digits behind the point."""
    rounded: list[float] = np.round(values / width, 3).tolist()
    return rounded
