"""Statistics of all IOs in constant memory: fed with tables of schema.IOS, window by window.

A stage that an IO did not reach is null in the table; times are counted over the IOs that ended.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vio.layer import Op, Phase, Stage
from vio.reporter.columns import numbers_of, read_times, values_of
from vio.reporter.group import Group, Keys, read_keys
from vio.reporter.histogram import Distribution, add_parts
from vio.reporter.tally import count_ios
from vio.schema import LACKS, OPS, time_column

_LACK_VALUES = 1 << 16
_LATENCY, _UNATTRIBUTED = "latency_ns", "unattributed_ns"
_STAGE_COLUMNS = {stage: tuple(time_column(stage, phase) for phase in Phase) for stage in Stage}
_NOTHING = Distribution()


class Summary:
    """What `add` has seen so far: by operation and disk, by stage and phase, and what is lacking."""

    def __init__(self) -> None:
        self.groups: dict[tuple[Op, int], Group] = {}
        self._parts: dict[str, Distribution] = {}
        self.ambiguous_count = 0
        self.merged_count = 0
        self._lacks = np.zeros(_LACK_VALUES, dtype=np.int64)

    def add(self, ios: pa.Table) -> None:
        """Count the IOs of one table of schema.IOS."""
        for batch in ios.to_batches():
            if batch.num_rows:
                keys = read_keys(batch)
                self._add_heads(batch, keys)
                self._add_times(batch, keys)

    def _add_heads(self, batch: pa.RecordBatch, keys: Keys) -> None:
        self.ambiguous_count += batch.column("is_ambiguous").true_count
        self.merged_count += int(np.count_nonzero(batch.column("merged_into").to_numpy() >= 0))
        lack = np.bincount(batch.column("lack").to_numpy())
        self._lacks[: lack.size] += lack
        is_whole = batch.column("is_whole").to_numpy(zero_copy_only=False)
        length = batch.column("bytes").to_numpy()
        counts = count_ios(keys.codes, is_whole, length, len(keys.groups))
        for key, (io_count, whole_count, size) in zip(keys.groups, counts.tolist(), strict=True):
            group = self._group(key)
            group.io_count += io_count
            group.whole_count += whole_count
            group.bytes += size

    def _add_times(self, batch: pa.RecordBatch, keys: Keys) -> None:
        if batch.column(_LATENCY).null_count:
            batch = batch.filter(pc.is_valid(batch.column(_LATENCY)))
            if not batch.num_rows:
                return
            keys = read_keys(batch)
        groups = [self._group(key) for key in keys.groups]
        for number, (stage, names) in enumerate(_STAGE_COLUMNS.items()):
            columns = {place: batch.column(name) for place, name in enumerate(names)}
            times = {place: values_of(one) for place, one in columns.items() if one.null_count < batch.num_rows}
            if not times:
                continue
            parts = {place: self._part(names[place]) for place in times}
            sums, reached = add_parts(parts, self._part(stage.column), times, keys.codes, len(groups))
            for group, times_ns, count in zip(groups, sums.T, reached.tolist(), strict=True):
                group.times_ns[number] += times_ns
                group.reached[number] += count
        self._add_wholes(batch, keys, groups)

    def _add_wholes(self, batch: pa.RecordBatch, keys: Keys, groups: list[Group]) -> None:
        values, is_there = read_times(batch.column(_UNATTRIBUTED))
        unattributed = self._part(_UNATTRIBUTED).add_by_group(values, is_there, keys.codes, len(groups))
        latency_ns = numbers_of(batch.column(_LATENCY), keys.order)
        for group, span, time_ns in zip(groups, keys.spans, unattributed.tolist(), strict=True):
            group.unattributed_ns += time_ns
            group.latency.add(latency_ns[span])

    def _part(self, name: str) -> Distribution:
        if name not in self._parts:
            self._parts[name] = Distribution()
        return self._parts[name]

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
            for stage, names in _STAGE_COLUMNS.items()
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
        return self._parts.get(_UNATTRIBUTED, _NOTHING)

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
