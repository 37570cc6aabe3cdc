"""Divide the time that a layer owns in an IO among the parts of that layer: each instant to the deepest one running.

The deepest is the one that began last. So the parts and the rest of the layer add up to the layer's own time.
"""

from dataclasses import dataclass

import numpy as np

from vio.reporter.match import NONE, Bools, Ints

_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals [start, stop) of owners, in ns from each owner's begin."""

    owner: Ints
    start: Ints
    stop: Ints

    def take(self, which: Ints | Bools) -> "Intervals":
        """Return the chosen ones."""
        return Intervals(self.owner[which], self.start[which], self.stop[which])


def divide(parts: Intervals, layer: Intervals, below: Intervals) -> Ints:
    """Return the own time of each part in ns.

    `layer` are the spans of the layer and of all below it, `below` only the latter: the layer owns what the first cover
    and the second do not.
    """
    own = np.zeros(parts.owner.size, dtype=np.int64)
    if not parts.owner.size:
        return own
    width = int(max(parts.stop.max(), layer.stop.max(initial=0), below.stop.max(initial=0))) + 2
    edges = np.unique(np.concatenate([side for one in (parts, layer, below) for side in _sides(one, width)]))
    starts, lengths = edges[:-1], np.diff(edges)
    # what lies between the last edge of one owner and the first of the next is covered by nothing
    is_owned = _covered(layer, edges, width) & ~_covered(below, edges, width)
    deepest = _deepest(parts, starts, width)
    has = is_owned & (deepest >= 0)
    np.add.at(own, deepest[has], lengths[has])
    return own


def _sides(of: Intervals, width: int) -> tuple[Ints, Ints]:
    return of.owner * width + of.start, of.owner * width + of.stop


def _covered(of: Intervals, edges: Ints, width: int) -> Bools:
    start, stop = _sides(of, width)
    change = np.zeros(edges.size, dtype=np.int64)
    np.add.at(change, np.searchsorted(edges, start), 1)
    np.add.at(change, np.searchsorted(edges, stop), -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _deepest(parts: Intervals, starts: Ints, width: int) -> Ints:
    """Return for each stretch of time the part that began last of those that cover it, or -1."""
    found = np.full(starts.size, NONE)
    start, stop = _sides(parts, width)
    for which in _levels(parts, start, stop):
        # within a level nothing overlaps: the latest begun is the only one that can cover a place
        which = which[np.argsort(start[which], kind="stable")]
        at = np.searchsorted(start[which], starts, side="right") - 1
        covers = (at >= 0) & (stop[which[np.maximum(at, 0)]] > starts)
        found[covers] = which[at[covers]]
    return found


def _levels(parts: Intervals, start: Ints, stop: Ints) -> list[Ints]:
    """Sort the parts into levels: a part lies one level below the deepest that runs when it begins."""
    levels = []
    rest = np.lexsort((-stop, start))
    rest = rest[stop[rest] > start[rest]]
    while rest.size:
        reach = np.append(np.int64(-1), np.maximum.accumulate(stop[rest])[:-1])
        is_outer = reach <= start[rest]
        levels.append(rest[is_outer])
        rest = rest[~is_outer]
    return levels
