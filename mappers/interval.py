"""Interval arithmetic on plain arrays: cut requests along a map, flatten overlapping intervals."""

from dataclasses import dataclass

import numpy as np

from vio.mappers.bounds import LAST
from vio.mappers.kind import Bools, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Requests cut along the rows of a map: a piece is `[begin, end)` of `request`, in `row` (-1: none)."""

    request: Ints
    row: Ints
    begin: Ints
    end: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Disjoint segments of overlapping intervals: one interval that covers each, and how many do."""

    begin: Ints
    end: Ints
    owner: Ints
    depth: Ints


def runs(breaks: Bools, size: int) -> tuple[Ints, Ints]:
    """Return the first and the last row of each run of rows that go together; `breaks` tell between which they do not.

    There is one break fewer than rows, or none.
    """
    first = np.flatnonzero(np.append(True, breaks)[:size])
    return first, np.append(first[1:] - 1, size - 1)[: first.size]


def range_end(offset: Ints, length: Ints) -> Ints:
    """Add without overflow: offsets and lengths come from guests and recordings, so are not to be trusted."""
    room = LAST - np.maximum(offset, 0)
    return np.asarray(offset + np.clip(length, 0, room), dtype=np.int64)


def cut(start: Ints, end: Ints, begins: Ints, ends: Ints) -> Cuts:
    """Cut each request `[begins, ends)` along the sorted disjoint rows `[start, end)`, gaps included.

    Costs one binary search per request and nothing per row that no request touches.
    """
    first = np.searchsorted(end, begins, side="right")
    hits = np.maximum(np.searchsorted(start, ends, side="left") - first, 0)
    slots = 2 * hits + 1  # a gap before each row hit, and one after the last
    request = np.repeat(np.arange(len(begins)), slots)
    place = np.arange(len(request)) - np.repeat(np.cumsum(slots) - slots, slots)
    is_row = place % 2 == 1
    row = np.where(is_row, first[request] + place // 2, -1)
    begin, stop = begins[request], ends[request]
    begin[is_row] = np.maximum(begin[is_row], start[row[is_row]])
    stop[is_row] = np.minimum(stop[is_row], end[row[is_row]])
    _fit_gaps(begin, stop, is_row)
    kept = stop > begin
    return Cuts(request[kept], row[kept], begin[kept], stop[kept])


def _fit_gaps(begin: Ints, end: Ints, is_row: Bools) -> None:
    rows = np.flatnonzero(is_row)
    begin[rows + 1] = end[rows]
    end[rows - 1] = begin[rows]


def flatten(begin: Ints, end: Ints) -> Layers:
    """Cut overlapping intervals (sorted by `begin`, none empty) into disjoint segments."""
    edges = np.unique(np.concatenate([begin, end]))
    left, right = edges[:-1], edges[1:]
    started = np.searchsorted(begin, left, side="right")
    depth = started - np.searchsorted(np.sort(end), left, side="right")
    covered = depth > 0
    owner = _longest_so_far(end)[started[covered] - 1]
    return Layers(left[covered], right[covered], owner, depth[covered])


def without_overlap(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Sort ranges and join those that overlap or touch."""
    if len(begin) == 0:
        return begin, end
    order = np.argsort(begin, kind="stable")
    begin, furthest = begin[order], np.maximum.accumulate(end[order])
    is_first = np.concatenate([[True], begin[1:] > furthest[:-1]])
    last = np.concatenate([np.flatnonzero(is_first)[1:] - 1, [len(begin) - 1]])
    return begin[is_first], furthest[last]


def _longest_so_far(end: Ints) -> Ints:
    # Of the intervals begun, the one that ends last covers every point that any of them still covers.
    furthest = np.maximum.accumulate(end)
    is_record = np.ones(len(end), dtype=np.bool_)
    is_record[1:] = end[1:] > furthest[:-1]
    return np.maximum.accumulate(np.where(is_record, np.arange(len(end)), 0))
