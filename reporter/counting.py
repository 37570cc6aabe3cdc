"""Compiled loops that count links: how many were there to find, were found, and agree with other evidence."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, compiled

_NONE = -1


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
