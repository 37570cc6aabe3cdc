"""What inner spans lie in: the work, bios, system calls and QEMU's calls of one window, with the IO of each."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vio.reporter.join import Joined
from vio.reporter.match import NONE, Bools, Ints, picked

_FAR = np.iinfo(np.int64).max
_STACK_BYTES = 1 << 18
_LOOPS = 4


class Name(NamedTuple):
    """What tells a container from all others, in this window and the next: its time and its thread."""

    begin_ns: int
    tid: int


@dataclass(frozen=True, slots=True)
class Containers:
    """Containers in the order of thread and time; `io` is the position of the IO that each works for, or -1.

    `is_target`: work or a bio, which an inner span may hold; others only hold spans. `is_loop`: below a loop device.
    """

    begin_ns: Ints
    until_ns: Ints
    tid: Ints
    io: Ints
    is_target: Bools
    is_loop: Bools
    has_stacks: bool = False

    def name(self, number: int) -> Name:
        """Name one, for the windows to come: stacks are numbered anew in each."""
        return Name(int(self.begin_ns[number]), NONE if self.has_stacks else int(self.tid[number]))


def host_containers(joined: Joined) -> Containers:
    """Return the works, bios, and system calls or requests that carry one IO each."""
    ev, carriers, blocks, links = joined.window.events, joined.carriers, joined.blocks, joined.links
    ts = np.append(ev.ts_ns, _FAR)
    by_request = _ios_of_requests(joined)
    work_io, bio_io = _through(carriers.work_submit, joined.submit_io), _through(links.bio_submit, joined.submit_io)
    is_loop_work, is_loop_bio = links.work_request >= 0, links.bio_upper >= 0
    work_io = np.where(is_loop_work, _through(links.work_request, by_request), work_io)
    bio_io = np.where(is_loop_bio, _through(links.bio_upper, by_request), bio_io)
    alone = np.flatnonzero((carriers.carrier >= 0) & ~joined.window.is_at(joined.frames.submit, "laio"))
    events = np.concatenate([carriers.work, blocks.bio, carriers.carrier[alone]])
    bio_end = picked(blocks.complete, blocks.request)
    until = np.concatenate([carriers.work_end, bio_end, carriers.carrier_end[alone]])
    io = np.concatenate([work_io, bio_io, joined.submit_io[alone] if alone.size else alone])
    is_target = np.arange(events.size) < carriers.work.size + blocks.bio.size
    is_loop = np.concatenate([is_loop_work, is_loop_bio, np.zeros(alone.size, dtype=np.bool_)])
    return _sorted(ev.ts_ns[events], ts[until], ev.tid[events].astype(np.int64), io, is_target, is_loop)


def qemu_containers(joined: Joined, aux: Ints) -> tuple[Containers, Ints]:
    """Return the calls of QEMU's block layer, with stacks for threads; and the stacks of the stack pointers `aux`."""
    ev, frames = joined.window.events, joined.frames
    ts = np.append(ev.ts_ns, _FAR)
    none = np.zeros(frames.call.size, dtype=np.bool_)
    stacks = _stacks(np.concatenate([ev.aux[frames.call].astype(np.int64), aux]))
    own = stacks[: frames.call.size]
    calls = _sorted(ev.ts_ns[frames.call], ts[frames.call_end], own, joined.call_io, none, none)
    calls = replace(calls, has_stacks=True)
    return calls, stacks[frames.call.size :]


def device_containers(joined: Joined) -> Containers:
    """Return where a request is in the hands of QEMU's device: until the block layer has it, and from the push on."""
    ev, ios = joined.window.events, joined.ios
    ts = np.append(ev.ts_ns, _FAR)
    taken = np.flatnonzero(joined.window.is_at(ios.begin, "accept") | joined.window.is_at(ios.begin, "scsi_new"))
    pushed = np.flatnonzero(ios.push >= 0)
    events = np.concatenate([ios.begin[taken], ios.push[pushed]])
    until = np.concatenate([ios.enter[ios.head[taken]], ios.notify[pushed]])  # what was merged enters as one
    is_target = np.ones(events.size, dtype=np.bool_)
    io = np.concatenate([taken, pushed])
    tid = ev.tid[events].astype(np.int64)
    return _sorted(ev.ts_ns[events], np.where(until >= 0, ts[until], ts[events]), tid, io, is_target, ~is_target)


def _stacks(pointers: Ints) -> Ints:
    """Number the stacks that pointers lie in: 1 MiB each, and used near their tops."""
    values, which = np.unique(pointers, return_inverse=True)
    jumps = np.diff(values) > _STACK_BYTES
    return np.concatenate([[0], np.cumsum(jumps)])[which] if values.size else which


def _sorted(begin_ns: Ints, until_ns: Ints, tid: Ints, io: Ints, is_target: Bools, is_loop: Bools) -> Containers:
    order = np.lexsort((begin_ns, tid))
    return Containers(
        begin_ns[order], until_ns[order], tid[order], np.asarray(io)[order], is_target[order], is_loop[order]
    )


def _through(position: Ints, of: Ints) -> Ints:
    return picked(of, position)


def _ios_of_requests(joined: Joined) -> Ints:
    """Return for each request the IO of its first bio, through loop devices too."""
    blocks, links = joined.blocks, joined.links
    found = np.full(blocks.issue.size, NONE)
    has = np.flatnonzero((links.bio_submit >= 0) & (blocks.request >= 0))[::-1]
    found[blocks.request[has]] = _through(links.bio_submit[has], joined.submit_io)
    below = np.flatnonzero((links.bio_upper >= 0) & (blocks.request >= 0))
    for _ in range(_LOOPS):
        rest = below[found[blocks.request[below]] < 0]
        if not rest.size:
            break
        found[blocks.request[rest]] = found[links.bio_upper[rest]]
    return found
