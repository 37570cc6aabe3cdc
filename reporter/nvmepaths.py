"""Requests on the hidden devices that are the paths of an NVMe namespace: which namespace they are of.

A bio is queued on the namespace's own device, its request has the number of the path's, and nothing says which path is
whose: those whose requests begin where bios of a namespace were queued before are its paths.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vio.manifest import DeviceInfo
from vio.mappers.device.mapping import MULTIPATH
from vio.reporter.events import Events
from vio.reporter.match import latest_before, picked

_SAMPLE = 4096  # requests of a device that are looked at
_SHARE = 0.5  # of them that have to begin with a bio of its namespace


@dataclass(slots=True)
class PathNumbers:
    """Learns from window to window; `heads` has the number of the namespace for its own and its partitions' numbers."""

    heads: Mapping[int, int]
    known: frozenset[int]
    issue: int
    bio: int
    found: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, devices: Sequence[DeviceInfo], points: Mapping[str, int]) -> "PathNumbers":
        """Take what a manifest says; there is nothing to learn where no device is a namespace of several paths."""
        heads = {one.kernel_dev: one.kernel_dev for one in devices if one.kind == "nvme" and one.mapping == MULTIPATH}
        heads |= {
            one.kernel_dev: above
            for one in devices
            for above in one.parents
            if above in heads and one.kind == "partition"
        }
        return cls(
            heads, frozenset(one.kernel_dev for one in devices), points.get("rq_issue", 0), points.get("bio_queue", 0)
        )

    def renumber(self, events: Events) -> Events:
        """Give what is of a path the number of its namespace."""
        if not self.heads:
            return events
        self._learn(events)
        space = events.space.copy()
        for path, head in self.found.items():
            space[events.space == path] = head
        return replace(events, space=space)

    def _learn(self, events: Events) -> None:
        bios = np.flatnonzero((events.point == self.bio) & np.isin(events.space, list(self.heads)))
        issues = np.flatnonzero(events.point == self.issue)
        for device in np.unique(events.space[issues]).tolist():
            if device in self.known or device in self.found or not bios.size:
                continue
            mine = issues[events.space[issues] == device][:_SAMPLE]
            places = events.offset.astype(np.uint64)
            bio = latest_before(mine, places[mine], bios, places[bios])
            owners = Counter(self.heads[one] for one in events.space[picked(bios, bio)[bio >= 0]].tolist())
            (head, count), *_ = owners.most_common(1) or [(0, 0)]
            if count > _SHARE * mine.size:
                self.found[device] = head
