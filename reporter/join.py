"""Join the layers, window by window: events in order of time go in, a table of IOs comes out.

An IO that has ended within a window is finished there; what belongs to one that has not, and every begin that still
waits for its end, is carried into the next window. So memory follows the number of IOs in flight, not the recording's
length.
"""

from collections import Counter
from dataclasses import dataclass, field, fields

import numpy as np

from vio.layer import Op
from vio.reporter.account import Times, account
from vio.reporter.block import COMMANDS, Blocks, read_blocks
from vio.reporter.carriers import CarrierReader, Carriers, SystemCalls
from vio.reporter.compiled import are_among
from vio.reporter.events import Events, Window
from vio.reporter.frames import FrameReader, Frames
from vio.reporter.lockwaits import keep_waits
from vio.reporter.loopdevices import LoopRequests
from vio.reporter.match import NONE, Bools, Ints, picked
from vio.reporter.paths import HostLinks, Part, Scope, Spans, host_spans, root_calls
from vio.reporter.requests import TAKEN, RequestReader, Requests, RootLinker, Roots

_ZERO_WRITE = 2  # BDRV_REQ_ZERO_WRITE
_OP = {op: number for number, op in enumerate(Op)}
_SAMPLE = 1 << 16  # calls of a window to learn from
_CARRY_NS = 60_000_000_000  # a begin without an end is given up after this long, unless an IO in flight needs it


@dataclass(frozen=True, slots=True)
class Ios:
    """IOs of a window, in order of begin: event indices (-1: none), operations and addresses.

    `begin` and `end` bound the IO. `head` is the position of the IO that carries a merged one, else its own. What is
    not `is_settled` may yet have a later end. `more` are spans of further root calls (a SCSI command may have several),
    `marks` other events of the IOs `mark_io` that the next window needs of those in flight.
    """

    begin: Ints
    end: Ints
    head: Ints
    enter: Ints
    root: Ints
    push: Ints
    notify: Ints
    op: Ints
    offset: Ints
    bytes: Ints
    space: Ints
    is_settled: Bools
    more: Part
    marks: Ints
    mark_io: Ints


@dataclass(frozen=True, slots=True)
class Linked:
    """What one window gave: its IOs, their spans (owner: position in `ios`), links. The next window waits for no more.

    `call_io` and `submit_io` are the IO that each call and each submit of `frames` works for, or -1.
    """

    window: Window
    ios: Ios
    spans: Spans
    frames: Frames
    carriers: Carriers
    blocks: Blocks
    links: HostLinks
    call_io: Ints
    submit_io: Ints
    is_done: Bools


@dataclass(frozen=True, slots=True)
class Joined(Linked):
    """A window that is linked, with the times of its IOs that are done, and the requests of loop devices."""

    times: Times
    loops: LoopRequests

    @classmethod
    def of(cls, linked: Linked) -> "Joined":
        """Find what is left to find of a window."""
        ts_ns, ios = linked.window.events.ts_ns, linked.ios
        times = account(ts_ns, ios.begin, ios.end, linked.spans, np.flatnonzero(linked.is_done))
        loops = LoopRequests.of(linked.window.events, linked.blocks, linked.links, linked.carriers)
        return cls(**{one.name: getattr(linked, one.name) for one in fields(linked)}, times=times, loops=loops)


@dataclass(slots=True)
class Joiner:
    """Joins windows in order; keeps between them what is unfinished and what it has learned of the QEMU."""

    points: dict[str, int]
    scope: Scope
    _frames: FrameReader = field(default_factory=FrameReader)
    _requests: RequestReader = field(default_factory=RequestReader)
    _roots: RootLinker = field(default_factory=RootLinker)
    _carriers: CarrierReader | None = None
    _carried: Events = field(default_factory=Events.empty)
    _nested: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, events: Events, is_last: bool = False) -> Joined:
        """Join one more window of events, which must not be earlier than the last one's."""
        return Joined.of(self.link(events, is_last))

    def link(self, events: Events, is_last: bool = False) -> Linked:
        """Join one more window as far as the next one waits for it: `Joined.of` does the rest."""
        if self._carriers is None:
            self._carriers = CarrierReader(self.scope.image_files, self.scope.descriptors)
        window = Window(self._carried.joined(events), self.points)
        frames = self._frames.read(window)
        carriers, calls = self._carriers.read(window, frames)
        blocks = read_blocks(window, self.scope.below)
        ios, call_io = self._ios(window, frames)
        submit_io = picked(call_io, frames.submit_parent)
        host, links = host_spans(window, frames, carriers, calls, blocks, self.scope, submit_io)
        spans = _all_spans(frames, ios, host)
        is_done = (ios.end >= 0) & ios.is_settled if not is_last else np.ones(ios.begin.size, dtype=np.bool_)
        bio_io = picked(submit_io, links.bio_submit)
        self._carried = (
            Events.empty()
            if is_last
            else window.events.take(
                _unfinished(window, ios, spans, frames, carriers, calls, blocks, call_io, bio_io, is_done)
            )
        )
        return Linked(window, ios, spans, frames, carriers, blocks, links, call_io, submit_io, is_done)

    def _ios(self, window: Window, frames: Frames) -> tuple[Ios, Ints]:
        """Return the IOs of the window, and for each block-layer call the IO it works for, or -1."""
        is_inner, is_top = self._learn_levels(window, frames)
        top, serves = root_calls(window, frames, is_top)
        is_root = (frames.call_parent < 0) & (serves == np.arange(frames.call.size))
        if window.observes(*TAKEN):
            requests = self._requests.read(window)
            linked = self._roots.link(window, requests, frames, is_root)
            owner, ios = linked.owner, _guest_ios(window, frames, requests, linked)
        else:
            owner = np.full(frames.call.size, NONE, dtype=np.int64)
            roots = np.flatnonzero(is_root & ~is_inner & ~_is_idle_flush(window, frames))
            owner[roots] = np.arange(roots.size)
            ios = _root_ios(window, frames, roots)
        return ios, owner[serves[top]] if owner.size else owner

    def _learn_levels(self, window: Window, frames: Frames) -> tuple[Bools, Bools]:
        """Tell which calls are of nodes below another, and which of nodes at the top; of some neither is known.

        Where ends were lost a call may seem to lie in one that is long over; so the majority decides who is below whom.
        """
        space = window.events.space[frames.call]
        nested = np.flatnonzero(frames.call_parent >= 0)[:_SAMPLE]
        above, below = space[frames.call_parent[nested]].astype(np.uint64), space[nested].astype(np.uint64)
        pairs, counts = np.unique(above << np.uint64(32) | below, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self._nested[pair >> 32, pair & 0xFFFFFFFF] += count
        believed = [two for two, count in self._nested.items() if count > self._nested.get(two[::-1], 0)]
        inner = {low for _, low in believed}
        outer = {up for up, _ in believed} - inner
        is_inner, is_top = (are_among(space, np.array(sorted(nodes), dtype=np.int64)) for nodes in (inner, outer))
        return is_inner, is_top


def _is_idle_flush(window: Window, frames: Frames) -> Bools:
    """Tell which flushes found nothing to do: QEMU leaves those early, past the point where a flush ends."""
    has_child = np.zeros(frames.call.size + 1, dtype=np.bool_)
    has_child[frames.call_parent] = True
    has_child[frames.submit_parent] = True
    return window.is_at(frames.call, "bdrv_flush") & (frames.call_end < 0) & ~has_child[:-1]


def _guest_ios(window: Window, frames: Frames, requests: Requests, linked: Roots) -> Ios:
    ev = window.events
    root = _main_roots(window, frames, requests, linked)
    call = np.where(root >= 0, frames.call[root], NONE) if frames.call.size else root
    end = np.where(requests.notify >= 0, requests.notify, requests.push)
    op = np.array([_OP[Op.DISCARD], _OP[Op.READ], _OP[Op.WRITE], _OP[Op.FLUSH], _OP[Op.DISCARD], _OP[Op.OTHER]])[
        np.minimum(requests.kind, 5)
    ]
    is_write = window.is_at(call, "bdrv_write")
    op = np.where(is_write & ((ev.flags[call] & _ZERO_WRITE) != 0), _OP[Op.WRITE_ZEROES], op)
    # QEMU accounts no address for a discard, and none that counts for write zeroes: the block layer's call has it.
    is_discard = window.is_at(call, "bdrv_discard")
    by_call = (call >= 0) & (is_discard | (op == _OP[Op.WRITE_ZEROES]))
    owned = np.flatnonzero(linked.owner >= 0)
    discarded = np.zeros(root.size, dtype=np.int64)
    discards = owned[window.is_at(frames.call[owned], "bdrv_discard")]
    np.add.at(discarded, linked.owner[discards], ev.key[frames.call[discards]].astype(np.int64))
    call_bytes = np.where(is_discard, discarded, ev.bytes[call])
    no_extent = (op == _OP[Op.FLUSH]) | ((op == _OP[Op.DISCARD]) & ~by_call)
    further = owned[root[linked.owner[owned]] != owned]
    return Ios(
        begin=requests.begin,
        end=end,
        head=requests.head,
        enter=np.where(root >= 0, linked.enter[root], requests.enter) if frames.call.size else requests.enter,
        root=root,
        push=requests.push,
        notify=requests.notify,
        op=op,
        offset=np.where(by_call, ev.offset[call], np.where(no_extent, 0, requests.offset)),
        bytes=np.where(by_call, call_bytes, np.where(no_extent, 0, requests.bytes)),
        space=np.where(call >= 0, ev.space[call].astype(np.int64), NONE),
        is_settled=requests.is_settled,
        more=Part(1, linked.owner[further], linked.enter[further], frames.call_end[further]),
        marks=np.concatenate([requests.entries.event, requests.account]),
        mark_io=np.concatenate([requests.entries.request, requests.accounted]),
    )


def _main_roots(window: Window, frames: Frames, requests: Requests, linked: Roots) -> Ints:
    """Return the root call of each request: of several the first of its own kind, so not a flush before a read."""
    root = np.full(requests.begin.size, NONE, dtype=np.int64)
    owned = np.flatnonzero(linked.owner >= 0)[::-1]
    root[linked.owner[owned]] = owned
    several = owned[root[linked.owner[owned]] != owned]
    if several.size:
        of_kind = owned[~window.is_at(frames.call[owned], "bdrv_flush")]
        root[linked.owner[of_kind]] = of_kind
    return root


def _root_ios(window: Window, frames: Frames, roots: Ints) -> Ios:
    """Without a guest the block layer's root calls are the IOs."""
    ev = window.events
    call = frames.call[roots]
    none = np.full(roots.size, NONE, dtype=np.int64)
    op = np.full(roots.size, _OP[Op.FLUSH])
    for name, value in (("bdrv_read", Op.READ), ("bdrv_write", Op.WRITE), ("bdrv_discard", Op.DISCARD)):
        op[window.is_at(call, name)] = _OP[value]
    op[(op == _OP[Op.WRITE]) & ((ev.flags[call] & _ZERO_WRITE) != 0)] = _OP[Op.WRITE_ZEROES]
    length = np.where(op == _OP[Op.DISCARD], ev.key[call].astype(np.int64), ev.bytes[call])
    space, is_settled = ev.space[call].astype(np.int64), np.ones(roots.size, dtype=np.bool_)
    end, head = frames.call_end[roots], np.arange(roots.size)
    more = Part(1, none[:0], none[:0], none[:0])
    return Ios(
        *(call, end, head, call, roots, none, none, op, ev.offset[call], length, space, is_settled),
        *(more, none[:0], none[:0]),
    )


def _all_spans(frames: Frames, ios: Ios, host: list[Part]) -> Spans:
    """Put the spans of all layers together, and give those of a merged request to every IO in it."""
    position = np.arange(ios.begin.size)
    is_guest = ios.push.size > 0 and bool((ios.enter != ios.begin).any() or (ios.push >= 0).any())
    root_end = picked(frames.call_end, ios.root)
    root_begin = np.where(ios.enter >= 0, ios.enter, picked(frames.call, ios.root))
    block = Part(1, position, np.where(ios.head == position, root_begin, NONE), root_end)
    device = [Part(0, position, ios.begin, ios.end)] if is_guest else []
    follower = np.flatnonzero(ios.head != position)
    return Spans.of([*device, block, ios.more, *host], len(device), ios.head[follower], follower)


def _unfinished(
    window: Window,
    ios: Ios,
    spans: Spans,
    frames: Frames,
    carriers: Carriers,
    calls: SystemCalls,
    blocks: Blocks,
    call_io: Ints,
    bio_io: Ints,
    is_done: Bools,
) -> Ints:
    """Return the events that the next window still needs."""
    count = len(window.events)
    keep = np.zeros(count + 1, dtype=np.bool_)  # the last place takes the -1s
    _keep_open(window, keep, frames, carriers, calls, blocks)
    ts_ns = window.events.ts_ns
    young = int(np.searchsorted(ts_ns, ts_ns[-1] - _CARRY_NS)) if count else 0  # the first event of the last minute
    keep[:young] = False
    waiting = np.flatnonzero(~is_done)
    for column in (ios.begin, ios.enter, ios.push, ios.notify):
        keep[column[waiting]] = True
    is_waiting = np.zeros(is_done.size + 1, dtype=np.bool_)
    is_waiting[waiting] = True
    keep[ios.marks[is_waiting[ios.mark_io]]] = True
    mine = np.flatnonzero(is_waiting[spans.owner])
    keep[spans.begin[mine]] = True
    keep[spans.end[mine]] = True
    calls_of = np.flatnonzero(is_waiting[call_io])
    keep[frames.call[calls_of]] = True
    keep[frames.call_end[calls_of]] = True
    if window.at("rq_remap").size:
        handed_on = blocks.request[keep[blocks.bio] & (blocks.request >= 0)]
        handed_on = handed_on[blocks.remap[handed_on] >= 0]
        for column in (blocks.issue, blocks.complete, blocks.remap):
            keep[column[handed_on]] = True
    keep[blocks.bio[is_waiting[bio_io]]] = True  # one that was held back begins no span
    keep[carriers.works.around[keep[carriers.work]]] = True
    bios = blocks.bios
    keep[bios.remap] = keep[picked(bios.event, bios.remapped)] | ((bios.remapped < 0) & (bios.remap >= young))
    keep[calls.end[keep[calls.begin]]] = True  # else it would seem to go on
    return np.flatnonzero(keep[:-1])


def _keep_open(
    window: Window, keep: Bools, frames: Frames, carriers: Carriers, calls: SystemCalls, blocks: Blocks
) -> None:
    keep[frames.call[frames.call_end < 0]] = True
    keep[carriers.work[carriers.work_end < 0]] = True
    keep[calls.begin[calls.end < 0]] = True
    keep[blocks.issue[blocks.complete < 0]] = True
    keep_waits(window, keep, calls)
    waits = (blocks.request < 0) & blocks.is_lowest
    keep[blocks.bio[waits]] = True
    keep[window.at("rq_insert")[-4096:]] = True
    keep[window.at(*COMMANDS)[-4096:]] = True
    uring = window.at("uring_submit")
    if uring.size:
        is_ended = np.zeros(keep.size, dtype=np.bool_)
        is_ended[carriers.carrier[carriers.carrier_end >= 0]] = True
        keep[uring[~is_ended[uring]]] = True
