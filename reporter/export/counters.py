"""How many IOs are in flight, and how many end a second, by disk, at even steps of time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.reporter.export.chosen import ChosenIos

_LEAST_STEP_NS = 1_000_000
_STEPS = 50_000
_NS = 1_000_000_000
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Counters:
    """For each disk, IOs that began and ended in each step since `start_ns`."""

    start_ns: int
    step_ns: int
    steps: int
    begun: dict[int, Ints] = field(default_factory=dict)
    ended: dict[int, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, ios: ChosenIos) -> "Counters":
        """Count."""
        recorded = ios.recorded
        length_ns = max(recorded.stop_ns - recorded.start_ns, _LEAST_STEP_NS)
        step_ns = max(_LEAST_STEP_NS, -(-length_ns // _STEPS))
        counters = cls(recorded.start_ns, step_ns, -(-length_ns // step_ns) + 1)
        for table in ios.tables(("disk", "begin_ns", "latency_ns")):
            disk = table["disk"].to_numpy()
            begin_ns = table["begin_ns"].to_numpy()
            latency_ns = table["latency_ns"].to_numpy()
            latency_ns = np.where(np.isnan(latency_ns), -1, latency_ns).astype(np.int64)
            for number in np.unique(disk).tolist():
                mine = disk == number
                is_ended = mine & (latency_ns >= 0)
                counters._add(counters.begun, number, begin_ns[mine])
                counters._add(counters.ended, number, begin_ns[is_ended] + latency_ns[is_ended])
        return counters

    def _add(self, counts: dict[int, Ints], disk: int, times_ns: Ints) -> None:
        # what is before the start, or after the stop, is counted in the first and last step
        step = np.clip((times_ns - self.start_ns) // self.step_ns, 0, self.steps - 1)
        counts.setdefault(disk, np.zeros(self.steps, dtype=np.int64))
        counts[disk] += np.bincount(step, minlength=self.steps)

    def values(self, disk: int) -> Iterator[tuple[int, int, float]]:
        """Yield the begin of each step, the IOs in flight then, and the ends a second in it; what stays is left out."""
        begun, ended = self.begun[disk], self.ended[disk]
        in_flight = np.append(0, np.cumsum(begun - ended))
        rate = np.append(ended, 0) * (_NS / self.step_ns)
        is_new = np.ones(self.steps + 1, dtype=np.bool_)
        is_new[1:] = (np.diff(in_flight) != 0) | (np.diff(rate) != 0)
        for step in np.flatnonzero(is_new).tolist():
            yield self.start_ns + step * self.step_ns, int(in_flight[step]), float(rate[step])
