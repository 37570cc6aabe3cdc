"""What became of each IO below QEMU's block layer: how it was handed over, in how many bios, requests and bytes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.layer import Stage
from vio.reporter.compiled import Bools, Ints, compiled
from vio.reporter.join import Joined
from vio.reporter.match import picked

_DATA = 3  # QEMU_AIO_READ | QEMU_AIO_WRITE
_DEVICE = list(Stage).index(Stage.DEVICE)
Flags = npt.NDArray[np.uint16]
Points = npt.NDArray[np.uint8]
WAYS = ("handed", "pooled", "bios", "cut", "requests", "device_bytes")


@dataclass(frozen=True, slots=True)
class Fanout:
    """Of each IO: reads and writes `handed` to the kernel, those of them that went to worker threads (`pooled`).

    And below: `bios` that the file system made, parts that were `cut` off them for the device's limits, `requests` that
    the device got, and the bytes of these. Of those that QEMU merged, the one that carries the others has it all.
    """

    handed: Ints
    pooled: Ints
    bios: Ints
    cut: Ints
    requests: Ints
    device_bytes: Ints

    def take(self, which: Ints | Bools | slice) -> "Fanout":
        """Return those of some IOs."""
        return Fanout(*(getattr(self, name)[which] for name in WAYS))


def fanout_of(joined: Joined) -> Fanout:
    """Count for the IOs that are done in a window, in the order of their rows."""
    window, blocks, spans = joined.window, joined.blocks, joined.spans
    ev, count = window.events, joined.ios.begin.size
    done = np.flatnonzero(joined.is_done)
    pool, split = window.number("pool"), window.number("bio_split")
    handed, pooled = _hand_overs(joined.submit_io, joined.frames.submit, ev.flags, ev.point, pool, count)
    bio_owner = picked(joined.submit_io, joined.links.bio_submit)
    bios, cut = _bios(bio_owner, blocks.is_lowest, blocks.bio, ev.point, split, count)
    requests, device_bytes = _requests(spans.owner, spans.stage, spans.begin, ev.bytes, count)
    is_carrier = joined.ios.head[done] == done
    return Fanout(
        handed[done],
        pooled[done],
        bios[done],
        cut[done],
        np.where(is_carrier, requests[done], 0),
        np.where(is_carrier, device_bytes[done], 0),
    )


@compiled
def _hand_overs(owner: Ints, submit: Ints, flags: Flags, point: Points, pool: int, count: int) -> tuple[Ints, Ints]:
    """Count each IO's reads and writes, and those of them that worker threads do."""
    handed, pooled = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(owner.size):
        if owner[i] >= 0 and flags[submit[i]] & _DATA:
            handed[owner[i]] += 1
            if point[submit[i]] == pool:
                pooled[owner[i]] += 1
    return handed, pooled


@compiled
def _bios(owner: Ints, is_lowest: Bools, bio: Ints, point: Points, split: int, count: int) -> tuple[Ints, Ints]:
    """Count each IO's bios that were queued, and what was cut off them."""
    queued, cut = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(owner.size):
        if owner[i] >= 0 and is_lowest[i]:
            if point[bio[i]] == split:
                cut[owner[i]] += 1
            else:
                queued[owner[i]] += 1
    return queued, cut


@compiled
def _requests(owner: Ints, stage: Ints, begin: Ints, length: Ints, count: int) -> tuple[Ints, Ints]:
    """Count each IO's requests, and their bytes."""
    requests, device_bytes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(owner.size):
        if stage[i] == _DEVICE and begin[i] >= 0:
            requests[owner[i]] += 1
            device_bytes[owner[i]] += length[begin[i]]
    return requests, device_bytes
