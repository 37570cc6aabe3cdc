"""Statistics of all IOs in constant memory: fed with tables of schema.IOS, window by window.

A stage that an IO did not reach is null in the table; times are counted over the IOs that ended.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.layer import Op, Phase, Stage
from vio.reporter.group import Group, Keys, read_keys
from vio.reporter.histogram import Distribution
from vio.reporter.matrix import CHUNK_ROWS, LATENCY, UNATTRIBUTED, Times, TimesReader, sums_by_group
from vio.schema import LACKS, OPS, time_column

_LACK_VALUES = 1 << 16


class Summary:
    """What `add` has seen so far: by operation and disk, by stage and phase, and what is lacking."""

    def __init__(self) -> None:
        self.groups: dict[tuple[Op, int], Group] = {}
        self.phases: dict[tuple[Stage, Phase], Distribution] = {}
        self.stages: dict[Stage, Distribution] = {}
        self.unattributed = Distribution()
        self.ambiguous_count = 0
        self.merged_count = 0
        self._lacks = np.zeros(_LACK_VALUES, dtype=np.int64)
        self._reader = TimesReader()
        self._scratch = np.empty(CHUNK_ROWS, dtype=np.int64)

    def add(self, ios: pa.Table) -> None:
        """Count the IOs of one table of schema.IOS."""
        for batch in ios.to_batches(max_chunksize=CHUNK_ROWS):
            if batch.num_rows:
                self._add_heads(batch, read_keys(batch))
                self._add_times(batch)

    def _add_heads(self, batch: pa.RecordBatch, keys: Keys) -> None:
        self.ambiguous_count += batch.column("is_ambiguous").true_count
        self.merged_count += int(np.count_nonzero(batch.column("merged_into").to_numpy() >= 0))
        lack = np.bincount(batch.column("lack").to_numpy())
        self._lacks[: lack.size] += lack
        is_whole = batch.column("is_whole").to_numpy(zero_copy_only=False)
        length = batch.column("bytes").to_numpy()
        for number, key in enumerate(keys.groups):
            group = self._group(key)
            rows = keys.codes == number
            group.io_count += int(np.count_nonzero(rows))
            group.whole_count += int(np.count_nonzero(rows & is_whole))
            group.bytes += int(length.sum(where=rows))

    def _add_times(self, batch: pa.RecordBatch) -> None:
        if batch.column(LATENCY).null_count:
            batch = batch.filter(pc.is_valid(batch.column(LATENCY)))
        if not batch.num_rows:
            return
        times = self._reader.read(batch)
        for (stage, phase), name in _PHASE_COLUMNS.items():
            if times.has(name):
                self._count(self.phases.setdefault((stage, phase), Distribution()), times, name)
        for stage in Stage:
            if times.has(stage.column):
                self._count(self.stages.setdefault(stage, Distribution()), times, stage.column)
        if times.has(UNATTRIBUTED):
            self._count(self.unattributed, times, UNATTRIBUTED)
        self._add_by_group(times, read_keys(batch))

    def _add_by_group(self, times: Times, keys: Keys) -> None:
        sums = sums_by_group(times, keys.codes, len(keys.groups))
        for number, key in enumerate(keys.groups):
            rows = keys.codes == number if len(keys.groups) > 1 else None
            self._group(key).add_times(times, sums[number], rows, self._scratch)

    def _group(self, key: tuple[int, int]) -> Group:
        return self.groups.setdefault((OPS[key[0]], key[1]), Group())

    def _count(self, part: Distribution, times: Times, name: str) -> None:
        part.add_floats(times.values(name), self._scratch)
        part.total_ns += times.total_ns(name)

    def total(self) -> Group:
        """Return all groups as one."""
        return Group.merged(self.groups.values())

    def by_op(self) -> dict[Op, Group]:
        """Return one group for each operation, in the order of `OPS`."""
        present = [op for op in OPS if any(key[0] is op for key in self.groups)]
        return {op: Group.merged(self._where(op=op)) for op in present}

    def by_disk(self) -> dict[int, Group]:
        """Return one group for each disk, by its number."""
        return {disk: Group.merged(self._where(disk=disk)) for disk in sorted({key[1] for key in self.groups})}

    def _where(self, op: Op | None = None, disk: int | None = None) -> Iterator[Group]:
        for (an_op, a_disk), group in self.groups.items():
            if op in (None, an_op) and disk in (None, a_disk):
                yield group

    @property
    def lacks(self) -> dict[str, int]:
        """How many IOs lack each of schema.LACKS; one IO may lack several."""
        present = np.flatnonzero(self._lacks)
        counts = {what: int(self._lacks[present[(present & bit) != 0]].sum()) for bit, what in LACKS.items()}
        return {what: count for what, count in counts.items() if count}

    @property
    def total_ns(self) -> int:
        """The time of all IOs that ended: what the shares are shares of."""
        return sum(one.total_ns for one in self.stages.values()) + self.unattributed.total_ns

    def share(self, part: Distribution) -> float:
        """Return a part's share of the time of all IOs; 0 where there is no time."""
        return part.total_ns / self.total_ns if self.total_ns else 0.0


_PHASE_COLUMNS = {(stage, phase): time_column(stage, phase) for stage in Stage for phase in Phase}
