"""Put the layers of one window together: from each IO down to the devices, as spans that point at their events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vio.layer import Stage
from vio.reporter.block import Blocks
from vio.reporter.carriers import Carriers, FileId, SystemCalls
from vio.reporter.compiled import append_spans, hand_on
from vio.reporter.events import Window
from vio.reporter.frames import Frames
from vio.reporter.held import ImagePlaces, find_held
from vio.reporter.lockwaits import find_lock_waits
from vio.reporter.match import NONE, Bools, Ints, first_after, pair, picked
from vio.reporter.nest import find_served, root_of_calls
from vio.reporter.sectors import place_key
from vio.reporter.stack import Below
from vio.reporter.threads import find_causes
from vio.reporter.works import pass_on_to_retries

STAGES = tuple(Stage)
_DEVICE, _BLOCK, _AIO, _VFS, _FS, _BIO, _RQ, _LOOP_FS, _LOOP_BIO, _LOOP_RQ = range(len(STAGES))
NO_VIA = np.empty(0, dtype=np.int64)
_LOOPS = 4  # loop devices upon each other that are followed


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop device: its number, and the place in its backing file (device, inode) where it begins."""

    device: int
    file: FileId
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What the recording says of the host: which files are images, by which descriptors, and the devices below.

    `places` are where files lie on devices; None: not known.
    """

    image_files: frozenset[FileId] = frozenset()
    loops: tuple[Loop, ...] = ()
    descriptors: Mapping[int, FileId] = field(default_factory=dict)
    below: Below = field(default_factory=Below)
    places: ImagePlaces | None = None


@dataclass(frozen=True, slots=True)
class Spans:
    """Work of one stage on one owner (an IO, a submit or a request): event indices, `end` -1 while it lasts."""

    owner: Ints
    stage: Ints
    begin: Ints
    end: Ints

    @classmethod
    def of(cls, parts: Sequence["Part"], first: int = 0, old_owner: Ints = NO_VIA, new_owner: Ints = NO_VIA) -> "Spans":
        """Return the spans of several parts, in order; then, of those from `first` on, what `new_owner[i]` has too.

        That is what `old_owner[i]` has.
        """
        owners, stages, begins, ends = (np.empty(sum(part.owner.size for part in parts), np.int64) for _ in range(4))
        count = own = 0
        for number, part in enumerate(parts):
            own = count if number == first else own
            via = NO_VIA if part.via is None else part.via
            count = append_spans(owners, stages, begins, ends, count, part.stage, part.owner, via, part.begin, part.end)
        which, owner = hand_on(owners[own:count], old_owner, new_owner)
        end = count + which.size
        columns = [owners, stages, begins, ends]
        if end > owners.size:  # mostly there is room: many parts have spans without an owner
            columns = [np.concatenate([column[:count], np.empty(which.size, np.int64)]) for column in columns]
        for column, given in zip(columns, (owner, *(column[own + which] for column in columns[1:])), strict=True):
            column[count:end] = given
        return cls(*(column[:end] for column in columns))


@dataclass(frozen=True, slots=True)
class Part:
    """Spans of one stage, some of which may have no owner or no begin; owned by `via` of the owner, if given."""

    stage: int
    owner: Ints
    begin: Ints
    end: Ints
    via: Ints | None = None

    def given_to(self, old_owner: Ints, new_owner: Ints, via: Ints | None = None) -> "Part":
        """Give each span of `old_owner[i]` to `new_owner[i]` instead; a span may have many new owners, or none."""
        which, owner = hand_on(self.owner, old_owner, new_owner)
        return Part(self.stage, owner, self.begin[which], self.end[which], via)

    def lifted(self, child: Ints, parent: Ints) -> "Part":
        """Give each span of `child[i]` to `parent[i]` as well, and to the parent of that."""
        parts = [self]
        for _ in range(_LOOPS):
            part = parts[-1].given_to(child, parent)
            if not part.owner.size:
                break
            parts.append(part)
        if len(parts) == 1:
            return self
        owner, begin, end = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("owner", "begin", "end")
        )
        return Part(self.stage, owner, begin, end)


def root_calls(window: Window, frames: Frames, is_top: Bools) -> tuple[Ints, Ints]:
    """Return for each call its root call (position), and for the tasks that qcow2 runs beside it the call they serve.

    A request over several clusters is cut into tasks with coroutines of their own; they keep its QEMUIOVector.
    `is_top` tells the calls of nodes that are above all others.
    """
    ev, call = window.events, frames.call
    # A discard has no QEMUIOVector; a call of the top node is never a task, and requests of one node that share a qiov
    # (qemu-img bench) are on their own.
    qiov = np.where(window.is_at(call, "bdrv_discard"), np.uint64(0), ev.key[call])
    serves = find_served(call, frames.call_end, frames.call_parent, qiov, ev.space[call], is_top, len(ev))
    return root_of_calls(frames.call_parent), serves


def host_spans(
    window: Window,
    frames: Frames,
    carriers: Carriers,
    calls: SystemCalls,
    blocks: Blocks,
    scope: Scope,
    submit_io: Ints,
) -> tuple[list[Part], "HostLinks"]:
    """Return the spans of the host's layers, and the links they came from; `submit_io` is the IO of each submit."""
    around = carriers.around
    nested, submit = find_causes(
        *(blocks.bio, carriers.work, carriers.work_end, carriers.work_submit),
        *(around.begin, around.end, around.submit, window.events.tid),
    )
    work_request = _work_below_loops(window, carriers, blocks, scope)
    held = find_held(window, frames, carriers, calls, blocks, nested, work_request, scope.places)
    submit = np.where(held.bio_work != nested, picked(carriers.work_submit, held.bio_work), submit)
    bio_work, bio_submit = blocks.bios.inherited(held.bio_work), blocks.bios.inherited(submit)
    waits = find_lock_waits(window, carriers, calls)
    upper = picked(work_request, bio_work)
    bio_end, _ = blocks.ends()
    request = picked(blocks.below, blocks.request)
    issue, complete = picked(blocks.issue, request), picked(blocks.complete, request)
    ends = picked(frames.call_end, frames.submit_parent)
    position = np.arange(frames.submit.size)
    parts = [
        Part(_AIO, position, frames.submit, ends, submit_io),
        Part(_VFS, position, carriers.carrier, carriers.carrier_end, submit_io),
        Part(_FS, carriers.work_submit, carriers.work, _work_ends(carriers), submit_io),
        Part(_FS, waits.submit, waits.begin, waits.end, submit_io),
        Part(_BIO, bio_submit, held.bio_begin, bio_end, submit_io),
        Part(_RQ, bio_submit, issue, complete, submit_io),
    ]
    if (work_request >= 0).any():
        lower = (
            Part(_LOOP_FS, work_request, carriers.work, carriers.work_end),
            Part(_LOOP_BIO, upper, held.bio_begin, bio_end),
            Part(_LOOP_RQ, upper, issue, complete),
        )
        on_loop = np.flatnonzero((upper >= 0) & (blocks.request >= 0))
        child, parent = blocks.request[on_loop], upper[on_loop]
        of_submit = np.flatnonzero((bio_submit >= 0) & (blocks.request >= 0))
        owned = blocks.request[of_submit], bio_submit[of_submit]
        parts += (part.lifted(child, parent).given_to(*owned, submit_io) for part in lower)
    return parts, HostLinks(bio_submit, upper, work_request, held.lacks_bio)


@dataclass(frozen=True, slots=True)
class HostLinks:
    """The submit of each bio; the loop request above each bio and above each piece of file-system work.

    `work_lacks_bio` tells which work must have had a bio of which none was seen.
    """

    bio_submit: Ints
    bio_upper: Ints
    work_request: Ints
    work_lacks_bio: Bools


def _work_ends(carriers: Carriers) -> Ints:
    """Where the file system says no end (xfs fsync), the end of the system call around it is the end."""
    end = carriers.work_end.copy()
    open_works = np.flatnonzero(end < 0)
    around = picked(carriers.carrier_end, carriers.work_submit[open_works])
    end[open_works] = np.where(around > carriers.work[open_works], around, NONE)
    return end


def _work_below_loops(window: Window, carriers: Carriers, blocks: Blocks, scope: Scope) -> Ints:
    """Return the request of a loop device that each piece of work on its backing file does, by address and order."""
    ev = window.events
    request = np.full(carriers.work.size, NONE, dtype=np.int64)
    is_direct = window.is_at(carriers.work, "dio")
    device, inode, request_device = ev.space[carriers.work], ev.key[carriers.work], ev.space[blocks.issue]
    for loop in scope.loops:
        below = (device == loop.file[0]) & (inode == loop.file[1])
        if not below.any():
            continue
        on_loop = np.flatnonzero(request_device == loop.device)
        issue = blocks.issue[on_loop]
        is_flush = (ev.flags[issue] == 3) & (ev.bytes[issue] == 0)
        data, work = on_loop[~is_flush], np.flatnonzero(below & is_direct & ~carriers.works.is_given_up)
        at, begin = blocks.issue[data], carriers.work[work]
        zero = np.zeros(at.size, dtype=np.int64)
        pairs = pair(
            at, place_key(zero, ev.offset[at] + loop.offset), begin, place_key(np.zeros_like(begin), ev.offset[begin])
        )
        found = pairs.end >= 0
        request[work[pairs.end[found]]] = data[found]
        flushes, syncs = on_loop[is_flush], np.flatnonzero(below & ~is_direct)
        at, begin = blocks.issue[flushes], carriers.work[syncs]
        after = first_after(at, np.zeros(at.size, dtype=np.uint64), begin, np.zeros(begin.size, dtype=np.uint64))
        found = after >= 0
        request[syncs[after[found]]] = flushes[found]
    return pass_on_to_retries(request, carriers.works)
