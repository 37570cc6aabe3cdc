"""Which IOs a report is about: by operation, disk and time."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vio.errors import UsageError
from vio.layer import Op
from vio.quantity import NO_END_S
from vio.reporter.recorded import Recorded
from vio.schema import OPS

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Filter:
    """IOs of these operations, on these disks (by name), begun in [from, to) seconds; what is empty takes all."""

    ops: tuple[Op, ...] = ()
    disks: tuple[str, ...] = ()
    between_s: tuple[float, float] | None = None

    @property
    def is_all(self) -> bool:
        """Whether every IO is taken."""
        return not self.ops and not self.disks and self.between_s is None

    @property
    def words(self) -> str:
        """Say in words which IOs are taken."""
        parts = [f"operation {', '.join(self.ops)}"] if self.ops else []
        parts += [f"disk {', '.join(self.disks)}"] if self.disks else []
        if self.between_s:
            begin_s, end_s = self.between_s
            has_end = end_s < NO_END_S
            parts.append(f"begun between {begin_s:g} s and {end_s:g} s" if has_end else f"begun after {begin_s:g} s")
        return "; ".join(parts) or "all"


class Chooser:
    """A filter made ready for one recording.

    Raises:
        UsageError: the recording has no such disk, or the times are the wrong way round.
    """

    def __init__(self, choice: Filter, recorded: Recorded) -> None:
        self._is_all = choice.is_all
        self._ops = pa.array([OPS.index(op) for op in choice.ops], pa.uint8())
        self._disks = pa.array([_disk_number(name, recorded) for name in choice.disks], pa.int16())
        self._bounds_ns = _bounds_ns(choice, recorded)

    def choose(self, ios: pa.Table) -> pa.Table:
        """Return the rows that the filter takes."""
        if self._is_all:
            return ios
        masks = []
        if len(self._ops):
            masks.append(pc.is_in(ios["op"], value_set=self._ops))
        if len(self._disks):
            masks.append(pc.is_in(ios["disk"], value_set=self._disks))
        if self._bounds_ns:
            masks.append(pc.greater_equal(ios["begin_ns"], self._bounds_ns[0]))
            masks.append(pc.less(ios["begin_ns"], self._bounds_ns[1]))
        taken = masks[0]
        for mask in masks[1:]:
            taken = pc.and_(taken, mask)
        return ios.filter(taken)


def _disk_number(name: str, recorded: Recorded) -> int:
    if name not in recorded.disk_names:
        raise UsageError(f"the recording has no disk {name}", f"it has: {', '.join(recorded.disk_names) or 'none'}")
    return recorded.disk_names.index(name)


def _bounds_ns(choice: Filter, recorded: Recorded) -> tuple[int, int] | None:
    if choice.between_s is None:
        return None
    first_s, last_s = choice.between_s
    if not 0 <= first_s < last_s:
        raise UsageError(f"--between {first_s:g}:{last_s:g}: the first must be less than the second, and not negative")
    last_ns = min(recorded.start_ns + round(last_s * _NS), 2**62) if last_s < NO_END_S else 2**62
    return recorded.start_ns + round(first_s * _NS), last_ns
