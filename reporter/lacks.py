"""What is missing from an IO: a span without its other end, a link that must be there and is not (schema.LACKS)."""

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled
from vio.reporter.counting import IS_DATA
from vio.reporter.join import Joined

_END, _CALL_END, _CARRIER, _CARRIER_END, _WORK_END, _REQUEST, _COMPLETE, _BELOW_LOOP, _ENTRY, _BIO = (
    1 << bit for bit in range(10)
)


def find_lacks(joined: Joined, is_direct: Bools) -> Ints:
    """Return for each IO the sum of the bits of what it lacks; `is_direct` says which bypass the page cache."""
    ios, frames, carriers = joined.ios, joined.frames, joined.carriers
    blocks, links, submit_io = joined.blocks, joined.links, joined.submit_io
    lack = np.zeros(ios.begin.size, dtype=np.int64)
    _lack_calls(lack, joined.call_io, frames.call_end)
    has_submit = _lack_carriers(lack, submit_io, carriers.carrier, carriers.carrier_end)
    works = carriers.work_submit, carriers.works.is_direct, carriers.work_end, links.work_lacks_bio
    has_work = _lack_works(lack, submit_io, *works)
    if has_work.any():  # the host's file system is one that shows its work
        lack[is_direct & IS_DATA[ios.op] & has_submit & ~has_work] |= _WORK_END
    if blocks.bio.size:
        bios = links.bio_submit, blocks.request, blocks.is_lowest, blocks.complete
        _lack_requests(lack, submit_io, *bios, joined.loops.unseen, joined.loops.faulty)
    return _lacks_of_all(lack, ios.head, ios.enter, ios.root, ios.end)


@compiled
def _lack_calls(lack: Ints, call_io: Ints, call_end: Ints) -> None:
    for call in range(call_io.size):
        if call_io[call] >= 0 and call_end[call] < 0:
            lack[call_io[call]] |= _CALL_END


@compiled
def _lack_carriers(lack: Ints, submit_io: Ints, carrier: Ints, carrier_end: Ints) -> Bools:
    """Return which IOs were handed over at all."""
    has_submit = np.zeros(lack.size, np.bool_)
    for submit in range(submit_io.size):
        io = submit_io[submit]
        if io < 0:
            continue
        has_submit[io] = True
        if carrier[submit] < 0:
            lack[io] |= _CARRIER
        elif carrier_end[submit] < 0:
            lack[io] |= _CARRIER_END
    return has_submit


@compiled
def _lack_works(
    lack: Ints, submit_io: Ints, work_submit: Ints, is_direct: Bools, work_end: Ints, lacks_bio: Bools
) -> Bools:
    """Return for which IOs a file system worked."""
    has_work = np.zeros(lack.size, np.bool_)
    for work in range(work_submit.size):
        io = submit_io[work_submit[work]] if work_submit[work] >= 0 else -1
        if io < 0:
            continue
        has_work[io] = True
        if is_direct[work] and work_end[work] < 0:
            lack[io] |= _WORK_END
        if lacks_bio[work]:
            lack[io] |= _BIO
    return has_work


@compiled
def _lack_requests(
    lack: Ints,
    submit_io: Ints,
    bio_submit: Ints,
    request: Ints,
    is_lowest: Bools,
    complete: Ints,
    unseen: Bools,
    faulty: Bools,
) -> None:
    """Add what requests lack: of loop devices, `unseen` ones should have been seen below, `faulty` ones lack there."""
    for bio in range(bio_submit.size):
        io = submit_io[bio_submit[bio]] if bio_submit[bio] >= 0 else -1
        if io < 0:
            continue
        at = request[bio]
        if at < 0:
            if is_lowest[bio]:
                lack[io] |= _REQUEST
            continue
        if complete[at] < 0 or faulty[at]:
            lack[io] |= _COMPLETE
        if unseen[at]:
            lack[io] |= _BELOW_LOOP


@compiled
def _lacks_of_all(lack: Ints, head: Ints, enter: Ints, root: Ints, end: Ints) -> Ints:
    """Return what all IOs lack: those that were merged, what their carrier does."""
    found = np.empty(lack.size, np.int64)
    for io in range(lack.size):
        carrier = head[io]
        found[io] = lack[carrier]
        if head[carrier] == carrier and (enter[carrier] < 0 or root[carrier] < 0):
            found[io] |= _ENTRY
        if end[io] < 0:
            found[io] |= _END
    return found
