"""What became of each IO below QEMU's block layer: how it was handed over, in how many bios, requests and bytes."""

from dataclasses import dataclass

import numpy as np

from vio.layer import Stage
from vio.reporter.compiled import Bools, Ints, compiled
from vio.reporter.join import Joined
from vio.reporter.match import picked

_DATA = 3  # QEMU_AIO_READ | QEMU_AIO_WRITE
_DEVICE = list(Stage).index(Stage.DEVICE)
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

    def take(self, which: Ints | Bools) -> "Fanout":
        """Return those of some IOs."""
        return Fanout(*(getattr(self, name)[which] for name in WAYS))


def fanout_of(joined: Joined) -> Fanout:
    """Count for the IOs that are done in a window, in the order of their rows."""
    window, frames, blocks, spans = joined.window, joined.frames, joined.blocks, joined.spans
    ev, count = window.events, joined.ios.begin.size
    done = np.flatnonzero(joined.is_done)
    owner = joined.submit_io
    is_data = (owner >= 0) & ((ev.flags[frames.submit] & _DATA) != 0)
    is_pooled = is_data & window.is_at(frames.submit, "pool")
    bio_owner = picked(owner, joined.links.bio_submit)
    is_lowest = (bio_owner >= 0) & blocks.is_lowest
    is_cut = window.is_at(blocks.bio, "bio_split")
    is_carrier = joined.ios.head[done] == done
    requests, device_bytes = _requests(spans.owner, spans.stage, spans.begin, ev.bytes, count)
    return Fanout(
        _count(owner, is_data, count)[done],
        _count(owner, is_pooled, count)[done],
        _count(bio_owner, is_lowest & ~is_cut, count)[done],
        _count(bio_owner, is_lowest & is_cut, count)[done],
        np.where(is_carrier, requests[done], 0),
        np.where(is_carrier, device_bytes[done], 0),
    )


def _count(owner: Ints, is_one: Bools, count: int) -> Ints:
    return np.bincount(owner[is_one], minlength=count).astype(np.int64, copy=False)


@compiled
def _requests(owner: Ints, stage: Ints, begin: Ints, length: Ints, count: int) -> tuple[Ints, Ints]:
    """Count each IO's requests, and their bytes."""
    requests, device_bytes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(owner.size):
        if stage[i] == _DEVICE and begin[i] >= 0:
            requests[owner[i]] += 1
            device_bytes[owner[i]] += length[begin[i]]
    return requests, device_bytes
