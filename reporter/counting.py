"""Compiled loops that count links: how many were there to find, were found, and agree with other evidence."""

import numpy as np
import numpy.typing as npt

from vio.layer import Op
from vio.reporter.compiled import Bools, Ints, Keys, compiled

_NONE = -1
IS_DATA = np.array([op in (Op.READ, Op.WRITE) for op in Op], dtype=np.bool_)
"""Of each operation by its number, whether the guest's data goes with it."""


@compiled
def count_heads(
    is_done: Bools, head: Ints, root: Ints, is_data: Bools, offset: Ints, call: Ints, called: Ints
) -> tuple[int, int, int, int]:
    """Count IOs that carry themselves, those with a root call, the data IOs of these, and those called elsewhere.

    `called` are the offsets of all events.
    """
    heads = found = checked = disagree = 0
    for io in range(is_done.size):
        if is_done[io] and head[io] == io:
            heads += 1
            if root[io] >= 0:
                found += 1
                checked += is_data[io]
                disagree += is_data[io] and called[call[root[io]]] != offset[io]
    return heads, found, checked, disagree


@compiled
def count_submits(
    submit: Ints, point: npt.NDArray[np.uint8], io: Ints, is_done: Bools, carrier: Ints, is_ambiguous: Bools
) -> Ints:
    """Count submits by their point (256 rows): of IOs that are done, of these with a carrier, ambiguous; of no IO."""
    counts = np.zeros((256, 4), np.int64)
    for i in range(submit.size):
        at = point[submit[i]]
        if io[i] < 0:
            counts[at, 3] += 1
        elif is_done[io[i]]:
            counts[at, 0] += 1
            counts[at, 1] += carrier[i] >= 0
            counts[at, 2] += is_ambiguous[i]
    return counts


@compiled
def count_bios(
    submit: Ints,
    upper: Ints,
    request: Ints,
    is_lowest: Bools,
    is_ambiguous: Bools,
    submit_io: Ints,
    is_done: Bools,
) -> tuple[int, int, int, int]:
    """Count bios: of IOs that are done, of these with a request, ambiguous; those with a request and of no IO.

    Of IOs only the lowest bios count: those that were handed on have no requests.
    """
    mine = found = ambiguous = others = 0
    for i in range(submit.size):
        if submit[i] < 0:
            others += upper[i] < 0 and request[i] >= 0
        elif is_lowest[i] and submit_io[submit[i]] >= 0 and is_done[submit_io[submit[i]]]:
            mine += 1
            found += request[i] >= 0
            ambiguous += is_ambiguous[i]
    return mine, found, ambiguous, others


@compiled
def direct_works(
    work_submit: Ints, is_direct: Bools, submit_io: Ints, is_done: Bools, first_bio: Ints
) -> tuple[int, Ints, Ints]:
    """Count direct IO of IOs that are done; return which has a bio too, and the first bio of its submit."""
    which, bio = np.empty(work_submit.size, np.int64), np.empty(work_submit.size, np.int64)
    works = found = 0
    for work in range(work_submit.size):
        submit = work_submit[work]
        if not is_direct[work] or submit < 0 or submit_io[submit] < 0 or not is_done[submit_io[submit]]:
            continue
        works += 1
        if first_bio[submit] >= 0:
            which[found], bio[found] = work, first_bio[submit]
            found += 1
    return works, which[:found], bio[:found]


@compiled
def count_served(work_submit: Ints, submit_io: Ints, is_done: Bools, is_native: Bools) -> tuple[int, int]:
    """Of the submits of IOs that are done, count those that a file system must serve or does, and those it does."""
    is_served = np.zeros(submit_io.size, np.bool_)
    for submit in work_submit:
        if submit >= 0:
            is_served[submit] = True
    must = served = 0
    for submit in range(submit_io.size):
        if submit_io[submit] >= 0 and is_done[submit_io[submit]]:
            must += is_served[submit] or is_native[submit]
            served += is_served[submit]
    return must, served


@compiled
def count_uppers(
    bio_submit: Ints, request: Ints, submit_io: Ints, is_done: Bools, is_upper: Bools, is_seen: Bools
) -> tuple[int, int]:
    """Count the requests of loop devices (`is_upper`) of IOs that are done, and those that were seen below."""
    is_mine = np.zeros(is_upper.size, np.bool_)
    for bio in range(bio_submit.size):
        submit = bio_submit[bio]
        if submit >= 0 and request[bio] >= 0 and submit_io[submit] >= 0 and is_done[submit_io[submit]]:
            is_mine[request[bio]] = True
    uppers = seen = 0
    for at in range(is_upper.size):
        if is_mine[at] and is_upper[at]:
            uppers += 1
            seen += is_seen[at]
    return uppers, seen


@compiled
def data_submits(
    first: Ints,
    is_mine: Bools,
    root: Ints,
    submit: Ints,
    submit_parent: Ints,
    call: Ints,
    key: Keys,
    space: npt.NDArray[np.uint32],
    descriptors: Ints,
) -> tuple[Ints, Ints]:
    """Return those IOs (`is_mine`) whose first submit carries the guest's data, and that submit's event.

    What QEMU does before (tables, copy on write) is in another buffer, and what a backing file gives is not of the
    `descriptors`; none of these: any. `key` and `space` are those of all events.
    """
    which, found = np.empty(first.size, np.int64), np.empty(first.size, np.int64)
    count = 0
    for io in range(first.size):
        if not is_mine[io] or first[io] < 0:
            continue
        at = submit[first[io]]
        if key[call[submit_parent[first[io]]]] != key[call[root[io]]]:
            continue
        is_of_file = descriptors.size == 0
        for one in descriptors:
            is_of_file |= space[at] == one
        if is_of_file:
            which[count], found[count] = io, at
            count += 1
    return which[:count], found[:count]


@compiled
def first_owned(owner: Ints, owners: int) -> Ints:
    """Return the first position that each owns, or -1."""
    first = np.full(owners, _NONE, np.int64)
    for i in range(owner.size - 1, -1, -1):
        if owner[i] >= 0:
            first[owner[i]] = i
    return first


@compiled
def targets_of(start: Ints, length: Ints, target: Ints, offset: Ints) -> Ints:
    """Return where each offset is by a map of sorted ranges (`target` -1: nowhere), or -1."""
    found = np.full(offset.size, _NONE, np.int64)
    for i in range(offset.size):
        low, high = 0, start.size
        while low < high:
            middle = (low + high) // 2
            if start[middle] <= offset[i]:
                low = middle + 1
            else:
                high = middle
        at = low - 1
        if at >= 0 and target[at] >= 0 and offset[i] < start[at] + length[at]:
            found[i] = target[at] + offset[i] - start[at]
    return found
