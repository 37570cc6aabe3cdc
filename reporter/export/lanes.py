"""Lanes: slices of one track must not overlap, so work that overlaps goes side by side."""

import heapq
from dataclasses import dataclass, field

NEVER_NS = 1 << 62


@dataclass(slots=True)
class Lanes:
    """The lanes of one stage of one disk: when each is free again."""

    count: int = 0
    _free: list[tuple[int, int]] = field(default_factory=list)

    def take(self, begin_ns: int, end_ns: int | None) -> int:
        """Return the number of a lane that is free at the begin, a new one if none is; it is taken until the end."""
        if self._free and self._free[0][0] <= begin_ns:
            _, lane = heapq.heappop(self._free)
        else:
            lane = self.count
            self.count += 1
        heapq.heappush(self._free, (NEVER_NS if end_ns is None else end_ns, lane))
        return lane
