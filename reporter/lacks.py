"""What is missing from an IO: a span without its other end, a link that must be there and is not (schema.LACKS)."""

import numpy as np
import numpy.typing as npt

from vio.layer import Op
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Bools, Ints, codes_of

_END, _CALL_END, _CARRIER, _CARRIER_END, _WORK_END, _REQUEST, _COMPLETE, _BELOW_LOOP, _ENTRY, _BIO = (
    1 << bit for bit in range(10)
)
_DATA_OPS = [number for number, op in enumerate(Op) if op in (Op.READ, Op.WRITE)]


def find_lacks(joined: Joined, is_direct: Bools) -> Ints:
    """Return for each IO the sum of the bits of what it lacks; `is_direct` says which bypass the page cache."""
    ios, frames, carriers = joined.ios, joined.frames, joined.carriers
    lack = np.zeros(ios.begin.size, dtype=np.int64)
    submit_io = joined.submit_io
    _add(lack, _CALL_END, joined.call_io, frames.call_end < 0)
    _add(lack, _CARRIER, submit_io, carriers.carrier < 0)
    _add(lack, _CARRIER_END, submit_io, (carriers.carrier >= 0) & (carriers.carrier_end < 0))
    work_io = _through(carriers.work_submit, submit_io)
    is_dio = joined.window.is_at(carriers.work, "dio")
    _add(lack, _WORK_END, work_io, is_dio & (carriers.work_end < 0))
    _add(lack, _BIO, work_io, joined.links.work_lacks_bio)
    _lack_work(joined, lack, is_direct, work_io)
    _lack_requests(joined, lack)
    _add(lack, _ENTRY, np.arange(lack.size), (ios.head == np.arange(lack.size)) & ((ios.enter < 0) | (ios.root < 0)))
    lack = lack[ios.head]
    lack[ios.end < 0] |= _END
    return lack


def _through(position: Ints, of: Ints) -> Ints:
    return np.where(position >= 0, of[position], NONE) if of.size else np.full(position.size, NONE)


def _add(lack: Ints, bit: int, owner: Ints, is_lacking: Bools) -> None:
    lack[owner[is_lacking & (owner >= 0)]] |= bit


def _lack_work(joined: Joined, lack: Ints, is_direct: Bools, work_io: Ints) -> None:
    """Direct reads and writes of an image must show in the file system, if it is one that shows any."""
    owned = work_io[work_io >= 0]
    if not owned.size or not is_direct.any():
        return
    has_work = np.zeros(lack.size, dtype=np.bool_)
    has_work[owned] = True
    has_submit = np.zeros(lack.size, dtype=np.bool_)
    has_submit[joined.submit_io[joined.submit_io >= 0]] = True
    is_data = np.isin(joined.ios.op, _DATA_OPS)
    lack[is_direct & is_data & has_submit & ~has_work] |= _WORK_END


def _lack_requests(joined: Joined, lack: Ints) -> None:
    blocks, links = joined.blocks, joined.links
    if not blocks.bio.size:
        return
    bio_io = _through(links.bio_submit, joined.submit_io)
    has = blocks.request >= 0
    _add(lack, _REQUEST, bio_io, ~has & blocks.is_lowest)
    if not blocks.issue.size:
        return
    incomplete = has & (blocks.complete[blocks.request] < 0)
    _add(lack, _COMPLETE, bio_io, incomplete)
    _lack_below(joined, lack, bio_io)


def _lack_below(joined: Joined, lack: Ints, bio_io: Ints) -> None:
    """A loop device of which any request was seen below must show every one."""
    blocks, links = joined.blocks, joined.links
    seen = np.zeros(blocks.issue.size, dtype=np.bool_)
    seen[links.work_request[links.work_request >= 0]] = True
    if not seen.any():
        return
    ev = joined.window.events
    loops = devices_of(ev.space[blocks.issue[seen]])
    is_data = ~((ev.flags[blocks.issue] == 3) & (ev.bytes[blocks.issue] == 0)) & (ev.flags[blocks.issue] != 4)
    must = np.isin(ev.space[blocks.issue], loops, kind="sort") & is_data & ~seen
    upper = (blocks.request >= 0) & must[blocks.request]
    _add(lack, _BELOW_LOOP, bio_io, upper)
    lower = _lower_faults(joined)
    _add(lack, _COMPLETE, bio_io, (blocks.request >= 0) & lower[blocks.request])


def devices_of(spaces: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return the distinct values; there are few, and hashing finds few fast."""
    codes = codes_of(spaces.astype(np.uint64))
    devices = np.empty(int(codes.max(initial=NONE)) + 1, dtype=np.uint32)
    devices[codes] = spaces
    return devices


def _lower_faults(joined: Joined) -> Bools:
    """Which requests of a loop device have a bio below without a request, or one without completion."""
    blocks, links = joined.blocks, joined.links
    fault = np.zeros(blocks.issue.size, dtype=np.bool_)
    below = np.flatnonzero((links.bio_upper >= 0) & blocks.is_lowest)
    request = blocks.request[below]
    bad = (request < 0) | (blocks.complete[request] < 0)
    fault[links.bio_upper[below[bad]]] = True
    works = np.flatnonzero((links.work_request >= 0) & (joined.carriers.work_end < 0))
    is_dio = joined.window.is_at(joined.carriers.work[works], "dio")
    fault[links.work_request[works[is_dio]]] = True
    return fault
