"""Put one map upon another: guest disk to image file to device, and what two maps say differently."""

import numpy as np

from vio.errors import MapError
from vio.mappers.extent import NOWHERE, RangeMap, Rows
from vio.mappers.interval import cut, without_overlap
from vio.mappers.kind import Flag, Ints, is_encoded, stacked


def compose(upper: RangeMap, lower: RangeMap) -> RangeMap:
    """Map the upper map's source to the lower map's target.

    What the lower map does not cover becomes UNMAPPED; its holes and other kinds without an address show
    through, and flags of both are kept. Compressed data that the lower map splits keeps its first part,
    flagged PARTIAL.
    """
    if upper.target_space != lower.source_space:
        raise MapError(f"cannot put a map to {upper.target_space} upon a map from {lower.source_space}")
    reaches = upper.target >= 0
    encoded = reaches & is_encoded(upper.kind)
    parts = (
        upper.rows.take(~reaches),
        _linear(upper, lower, np.flatnonzero(reaches & ~encoded)),
        _encoded(upper, lower, np.flatnonzero(encoded)),
    )
    return RangeMap.from_rows(upper.source_space, lower.target_space, Rows.joined(parts)).coalesce()


def overlaid(lower: RangeMap, upper: RangeMap) -> RangeMap:
    """Put one map of a space over another: where the upper one says anything, that holds, UNMAPPED too."""
    spaces = (lower.source_space, lower.target_space)
    if spaces != (upper.source_space, upper.target_space):
        raise MapError(f"cannot put a map of {upper.source_space} over one of {lower.source_space}: other spaces")
    begins, ends = without_overlap(upper.start, upper.end)
    cuts = cut(begins, ends, lower.start, lower.end)
    free = cuts.row < 0
    row, begin, length = cuts.request[free], cuts.begin[free], (cuts.end - cuts.begin)[free]
    moves = ~is_encoded(lower.kind[row]) & (lower.target[row] >= 0)
    target = lower.target[row] + np.where(moves, begin - lower.start[row], 0)
    stored = np.where(moves, length, lower.target_length[row])
    kept = Rows(begin, length, target, stored, lower.kind[row])
    return RangeMap.from_rows(*spaces, Rows.joined([kept, upper.rows])).coalesce()


def difference(older: RangeMap, newer: RangeMap) -> tuple[Ints, Ints]:
    """Give the source ranges (starts, lengths) of which two maps of one space say different things."""
    edges = np.unique(np.concatenate([older.start, older.end, newer.start, newer.end]))
    begin, length = edges[:-1], np.diff(edges)
    # No edge of either map lies inside such a range, so each of them is one piece in both.
    one, two = older.lookup(begin, length), newer.lookup(begin, length)
    differs = (one.target != two.target) | (one.kind != two.kind) | (one.target_length != two.target_length)
    return begin[differs], length[differs]


def _linear(upper: RangeMap, lower: RangeMap, rows: Ints) -> Rows:
    pieces = lower.lookup(upper.target[rows], upper.length[rows])
    owner = rows[pieces.request]
    start = upper.start[owner] + (pieces.start - upper.target[owner])
    kind = stacked(upper.kind[owner], pieces.kind)
    return Rows(start, pieces.length, pieces.target, pieces.target_length, kind)


def _encoded(upper: RangeMap, lower: RangeMap, rows: Ints) -> Rows:
    known = upper.target_length[rows]
    wanted = np.maximum(known, 1)
    pieces = lower.lookup(upper.target[rows], wanted)
    first = np.searchsorted(pieces.request, np.arange(len(rows)))
    target, part = pieces.target[first], pieces.length[first]
    kind = stacked(upper.kind[rows], pieces.kind[first])
    partial = np.where(part < wanted, Flag.PARTIAL, 0).astype(np.uint8)
    # Below encoded data there may be encoded data again, which has a stored length of its own.
    stored = np.where(is_encoded(pieces.kind[first]), pieces.target_length[first], np.minimum(part, known))
    stored = np.where(target == NOWHERE, 0, stored)
    return Rows(upper.start[rows], upper.length[rows], target, stored, kind | partial)
