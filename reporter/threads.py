"""Compiled loops over what threads are in: a system call or the file system's work, when a bio is queued."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Ints, compiled, grown, new_table, place_of

_NONE = -1


@compiled
def find_causes(
    bio: Ints,
    work: Ints,
    work_end: Ints,
    work_submit: Ints,
    around: Ints,
    around_end: Ints,
    around_submit: Ints,
    tid: npt.NDArray[np.int32],
) -> tuple[Ints, Ints]:
    """Return the work (position) and the submit of each bio: of what its thread began last, if that had not ended.

    `around` are the system calls and io_uring requests, of which each is for `around_submit`; an end of -1 is not seen.
    """
    cause, submit = np.full(bio.size, _NONE, np.int64), np.full(bio.size, _NONE, np.int64)
    keys, latest = new_table()  # work, or the size of `work` and around
    far = tid.size
    count = j = k = 0
    for i in range(bio.size):
        while True:
            next_work = work[j] if j < work.size else far
            next_around = around[k] if k < around.size else far
            event = min(next_work, next_around)
            if event > bio[i]:
                break
            thread = np.uint64(tid[event])
            at = place_of(keys, latest, keys.size - 1, thread)
            if latest[at] == _NONE:
                keys[at] = thread
                count += 1
            if next_work < next_around:
                latest[at] = j
                j += 1
            else:
                latest[at] = work.size + k
                k += 1
            if 2 * count >= keys.size:
                keys, latest = grown(keys, latest)
        one = latest[place_of(keys, latest, keys.size - 1, np.uint64(tid[bio[i]]))]
        if one == _NONE:
            continue
        end = work_end[one] if one < work.size else around_end[one - work.size]
        if end >= 0 and end <= bio[i]:
            continue
        if one < work.size:
            cause[i] = one
            submit[i] = work_submit[one]
        else:
            submit[i] = around_submit[one - work.size]
    return cause, submit


@compiled
def last_of(owner: Ints, at: Ints, owners: int) -> Ints:
    """Return the greatest of what each owns, -1 where that is nothing."""
    last = np.full(owners, _NONE, np.int64)
    for i in range(owner.size):
        if owner[i] >= 0:
            last[owner[i]] = max(last[owner[i]], at[i])
    return last
