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
from vio.reporter.matrix import CHUNK_ROWS, LATENCY, STAGE_COLUMNS, UNATTRIBUTED, TimesReader, sums_by_group
from vio.schema import LACKS, OPS

_LACK_VALUES = 1 << 16
_NOTHING = Distribution()


class Summary:
    """What `add` has seen so far: by operation and disk, by stage and phase, and what is lacking."""

    def __init__(self) -> None:
        self.groups: dict[tuple[Op, int], Group] = {}
        self._parts: dict[str, Distribution] = {}
        self.ambiguous_count = 0
        self.merged_count = 0
        self._lacks = np.zeros(_LACK_VALUES, dtype=np.int64)
        self._reader = TimesReader()

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
        for row in self._reader.read(batch):
            if row.name not in self._parts:
                self._parts[row.name] = Distribution()
            self._parts[row.name].add_floats(row.values, row.absent)
        keys = read_keys(batch)
        sums = sums_by_group(self._reader.matrix, keys.codes, len(keys.groups))
        for name, place in self._reader.places.items():
            if name in self._parts:
                self._parts[name].total_ns += int(sums[:, place].sum())
        latency_ns = self._reader.matrix[self._reader.places[LATENCY]]
        for number, key in enumerate(keys.groups):
            by_name = {name: int(sums[number, place]) for name, place in self._reader.places.items()}
            rows = latency_ns[keys.codes == number] if len(keys.groups) > 1 else latency_ns
            self._group(key).add_times(by_name, rows)

    def _group(self, key: tuple[int, int]) -> Group:
        name = (OPS[key[0]], key[1])
        if name not in self.groups:
            self.groups[name] = Group()
        return self.groups[name]

    @property
    def phases(self) -> dict[tuple[Stage, Phase], Distribution]:
        """Own times of each stage and phase that an IO reached, in the order of the stack."""
        return {
            (stage, phase): self._parts[name]
            for stage, names in STAGE_COLUMNS.items()
            for phase, name in zip(Phase, names, strict=True)
            if name in self._parts
        }

    @property
    def stages(self) -> dict[Stage, Distribution]:
        """Own times of each stage that an IO reached, its phases taken together, in the order of the stack."""
        return {stage: self._parts[stage.column] for stage in Stage if stage.column in self._parts}

    @property
    def unattributed(self) -> Distribution:
        """Time that no observed layer claims."""
        return self._parts.get(UNATTRIBUTED, _NOTHING)

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
