"""The steps of a stack of devices, as parts of `block`: what each bio's time on each device was.

A bio is on its device from its queueing to its end, and what came of it is on the devices below meanwhile. As the
deepest at work has the time, a mapped device has what passes before the bios made from it are queued, between them,
and, as `NAME up`, after the last of them has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vio.layer import Stage
from vio.manifest import DeviceInfo
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Ints
from vio.reporter.stack import Below

_MAPPED = ("dm", "md")
_BLOCK = [number for number, stage in enumerate(Stage) if stage in (Stage.BLOCK, Stage.LOOP_BLOCK)]


def below_of(devices: Sequence[DeviceInfo]) -> Below:
    """Say how a recording's devices lie upon each other."""
    disk_of = {one.kernel_dev: _disk_of(one, devices) for one in devices if one.kind == "partition"}
    disk_of = {partition: disk for partition, disk in disk_of.items() if disk}
    mapped = {one.kernel_dev: one.parents for one in devices if _is_mapped(one)}
    parents = {device: tuple(disk_of.get(one, one) for one in below) for device, below in mapped.items()}
    stretches = tuple((one.kernel_dev, stretch) for one in devices for stretch in one.stretches)
    return Below(disk_of, parents, stretches)


def has_steps(devices: Sequence[DeviceInfo]) -> bool:
    """Tell whether device mapper, md or NVMe multipath are in the stack: then `block` has parts."""
    return any(map(_is_mapped, devices))


@dataclass(frozen=True, slots=True)
class StepRows:
    """Spans of steps: position of the IO, number of the stage, name, begin and end in ns (-1: not seen), thread."""

    io: Ints
    stage: Ints
    name: list[str]
    begin_ns: Ints
    end_ns: Ints
    tid: Ints

    @classmethod
    def empty(cls) -> "StepRows":
        """Return no rows."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, [], none, none, none)

    @classmethod
    def joined(cls, several: Sequence["StepRows"]) -> "StepRows":
        """Return the rows of several."""
        io, stage, begin_ns, end_ns, tid = (
            np.concatenate([getattr(one, name) for one in several])
            for name in ("io", "stage", "begin_ns", "end_ns", "tid")
        )
        return cls(io, stage, [name for one in several for name in one.name], begin_ns, end_ns, tid)


class StepReader:
    """Reads the steps of each window's IOs."""

    def __init__(self, devices: Sequence[DeviceInfo]) -> None:
        self._names = {one.kernel_dev: _name(one) for one in devices}

    def read(self, joined: Joined) -> StepRows:
        """Return the steps of the IOs that are done in this window."""
        spans, blocks, ev = joined.spans, joined.blocks, joined.window.events
        which = np.flatnonzero(np.isin(spans.stage, _BLOCK) & joined.is_done[spans.owner])
        owner, stage, begin, end = (column[which] for column in (spans.owner, spans.stage, spans.begin, spans.end))
        if not which.size:
            return StepRows.empty()
        bio = np.searchsorted(blocks.bio, begin)
        _, below = blocks.ends()
        goes_up = np.flatnonzero((blocks.bios.done[bio] >= 0) & (below[bio] >= 0))
        names = self._named(joined, bio)
        again = [*range(which.size), *goes_up.tolist()]
        ts = np.append(ev.ts_ns, NONE)
        return StepRows(
            owner[again],
            stage[again],
            [*names, *(f"{names[one]} up" for one in goes_up.tolist())],
            np.concatenate([ts[begin], ts[below[bio[goes_up]]]]),
            ts[end[again]],
            ev.tid[begin[again]].astype(np.int64),
        )

    def _named(self, joined: Joined, bio: Ints) -> list[str]:
        device = joined.blocks.bio_device[bio].tolist()
        return [self._names.get(one, f"{one >> 20}:{one & 0xFFFFF}") for one in device]


def _is_mapped(device: DeviceInfo) -> bool:
    return device.kind in _MAPPED or (device.kind == "nvme" and bool(device.parents))


def _name(device: DeviceInfo) -> str:
    return f"{device.name} ({device.mapping})" if device.mapping else device.name


def _disk_of(partition: DeviceInfo, devices: Sequence[DeviceInfo]) -> int:
    """Return the disk of a partition; before recordings had `parents` its name must do (sda1, nvme0n1p2)."""
    if partition.parents:
        return partition.parents[0]
    disks = (one for one in devices if one.kind != "partition" and partition.name.startswith(one.name))
    return max(((len(one.name), one.kernel_dev) for one in disks), default=(0, 0))[1]
