"""IOs of one operation on one disk: how many, how large, how long, and their time by stage and phase."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from vio.layer import Phase, Stage
from vio.reporter.compiled import Ints, order_by_number
from vio.reporter.histogram import Distribution


def _times() -> Ints:
    return np.zeros((len(Stage), len(Phase)), dtype=np.int64)


def _stages() -> Ints:
    return np.zeros(len(Stage), dtype=np.int64)


@dataclass(slots=True, eq=False)
class Group:
    """`latency` counts the IOs that ended; `times_ns` (stages x phases), `unattributed_ns` and `reached` are theirs."""

    io_count: int = 0
    whole_count: int = 0
    bytes: int = 0
    latency: Distribution = field(default_factory=Distribution)
    times_ns: Ints = field(default_factory=_times)
    unattributed_ns: int = 0
    reached: Ints = field(default_factory=_stages)

    @property
    def unended_count(self) -> int:
        """IOs whose end was not seen."""
        return self.io_count - self.latency.count

    def merge(self, other: "Group") -> None:
        """Add what another group has counted."""
        self.io_count += other.io_count
        self.whole_count += other.whole_count
        self.bytes += other.bytes
        self.latency.merge(other.latency)
        self.times_ns += other.times_ns
        self.unattributed_ns += other.unattributed_ns
        self.reached += other.reached

    @classmethod
    def merged(cls, groups: Iterable["Group"]) -> "Group":
        """Return several groups as one."""
        result = cls()
        for group in groups:
            result.merge(group)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """Operation and disk of each group in a chunk, and which group each IO is of."""

    groups: list[tuple[int, int]]
    codes: Ints

    @property
    def order(self) -> Ints:
        """The IOs in the order of their groups."""
        return order_by_number(self.codes, len(self.groups))

    @property
    def spans(self) -> list[slice]:
        """Where each group is in that order."""
        last = np.cumsum(np.bincount(self.codes, minlength=len(self.groups))).tolist()
        return [slice(*both) for both in pairwise([0, *last])]


def read_keys(batch: pa.RecordBatch) -> Keys:
    """Number the groups of a chunk."""
    op = batch.column("op").to_numpy()
    disk = batch.column("disk").to_numpy()
    code = ((disk.astype(np.int64) + 1) << 8) | op
    present = np.flatnonzero(np.bincount(code))
    numbers = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    numbers[present] = np.arange(present.size)
    groups = [(int(one) & 0xFF, (int(one) >> 8) - 1) for one in present]
    return Keys(groups, numbers[code] if present.size > 1 else np.zeros(code.size, dtype=np.int64))
