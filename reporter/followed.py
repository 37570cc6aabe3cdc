"""Where ranges of a guest's disk lie in its image file, as the run shows it, put in order of time.

What the first map says already takes no room: only ranges that were seen elsewhere are kept, each with its place and
since when. A range that leaves its place becomes a row: it lay there from then to then.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vio.mappers.interval import without_overlap
from vio.mappers.timed import FOREVER_NS
from vio.reporter.compiled import compiled
from vio.reporter.match import Bools, Ints
from vio.reporter.sightings import GONE, KnownShifts, PastRanges, Ranges

MOST_RANGES = 1 << 20  # kept: 48 MiB
_PIECES = 1 << 22  # cut at once: memory is bounded by it, however the ranges overlap


class Extents(Protocol):
    """Ranges of the guest's disk, and how far their places are."""

    @property
    def start(self) -> Ints:
        """Begins, in bytes of the guest's disk."""

    @property
    def end(self) -> Ints:
        """Ends, exclusive."""

    @property
    def shift(self) -> Ints:
        """How far on in the file their places are."""


@dataclass(slots=True)
class FollowedRanges:
    """Follows one guest disk; `first` is the map at the start, which holds where nothing else was seen.

    `disputed_bytes` are those of sightings that disagree and cannot be put in order, `forgotten_bytes` were not
    followed to the end, because there were too many.
    """

    first: KnownShifts
    most: int = MOST_RANGES
    pieces: int = _PIECES
    disputed_bytes: int = 0
    forgotten_bytes: int = 0
    _now: Ranges = field(default_factory=Ranges.empty)

    def news(self, placed: Extents, gone: Extents) -> Ints:
        """Return which sightings of places say what is not known, or touch what does: those that have to be added.

        What is `gone` has to be added whole.
        """
        now, first = self._now, self.first
        known = (now.start, now.end, now.shift)
        is_new = are_new(*known, first.start, first.end, first.shift, placed.start, placed.end, placed.shift)
        start = np.concatenate([placed.start[is_new], gone.start])
        end = np.concatenate([placed.end[is_new], gone.end])
        return np.flatnonzero(is_new | _touches(placed.start, placed.end, start, end))

    def add(self, news: Ranges) -> PastRanges:
        """Take sightings that are not earlier than those before; return what has left its place by them."""
        if not len(news):
            return PastRanges.joined([])
        past = self._put(news.take(np.argsort(news.until_ns, kind="stable")))
        return PastRanges.joined([*past, self._forget()]).whole()

    def finish(self, last: KnownShifts, taken_ns: int) -> PastRanges:
        """Return what is kept, in the light of the map that was taken last (`taken_ns`).

        Where that map says the same, it takes over. Where it is as it was at first, or knows no place, it lags behind:
        what the run showed goes on. Where it has a third place, it is not known which is the later one: neither holds.
        """
        now = self._now
        at, start, end, base = self.first.cut(now.start, now.end)
        piece, start, end, stop = last.cut(start, end)
        at, base = at[piece], base[piece]
        shift, since_ns = now.shift[at], now.since_ns[at]
        is_third = (shift != stop) & (stop != GONE) & (stop != base) & (shift != GONE) & (since_ns < taken_ns)
        self.disputed_bytes += int((end - start)[is_third].sum())
        is_over = (shift == stop) | is_third
        to_ns = np.where(is_over, np.maximum(taken_ns, since_ns), FOREVER_NS)
        says = np.flatnonzero(~is_over | (shift != base))
        self._now = Ranges.empty()
        past = PastRanges(*(column[says] for column in (start, end, shift, since_ns, to_ns)))
        third = np.flatnonzero(is_third)
        gone = (np.full(third.size, value) for value in (GONE, taken_ns, FOREVER_NS))
        return PastRanges.joined([past, PastRanges(start[third], end[third], *gone)]).whole()

    def _put(self, news: Ranges) -> list[PastRanges]:
        """Put sightings, in order of time, to what is known: a part after the other, if all make too many pieces."""
        is_touched = _touches(self._now.start, self._now.end, news.start, news.end)
        known = self._now.take(is_touched)
        every = Ranges.joined([known, news])
        edges = _edges(every, self.first)
        first = np.searchsorted(edges, every.start)
        count = np.searchsorted(edges, every.end) - first
        if count.sum() > self.pieces and len(news) > 1:
            half = len(news) // 2
            return [*self._put(news.take(slice(0, half))), *self._put(news.take(slice(half, None)))]
        start, end, base = edges[:-1], edges[1:], self.first.at(edges[:-1])
        columns = (every.shift, every.since_ns, every.from_ns, every.until_ns)
        state, past, disputes = put_in_order(first, count, len(known), base, *columns)
        self.disputed_bytes += int(((end - start) * disputes).sum())
        left = Ranges(start, end, *state).take(state[-1] > 0)
        self._now = Ranges.joined([self._now.take(~is_touched), left]).whole()
        row, was, since, to = past
        return [PastRanges(start[row], end[row], was, since, to)]

    def _forget(self) -> PastRanges:
        """Let the ranges go that were seen the longest ago, if there are too many: they held for as long as that."""
        now = self._now
        if len(now) <= self.most:
            return PastRanges.joined([])
        oldest = np.argsort(now.until_ns, kind="stable")[: len(now) - self.most // 2]
        gone = now.take(oldest)
        self.forgotten_bytes += int((gone.end - gone.start).sum())
        is_kept = np.ones(len(now), dtype=np.bool_)
        is_kept[oldest] = False
        self._now = now.take(is_kept)
        return PastRanges(gone.start, gone.end, gone.shift, gone.since_ns, np.maximum(gone.until_ns, gone.since_ns + 1))


@compiled
def are_new(
    now_start: Ints,
    now_end: Ints,
    now_shift: Ints,
    first_start: Ints,
    first_end: Ints,
    first_shift: Ints,
    start: Ints,
    end: Ints,
    shift: Ints,
) -> Bools:
    """Tell of ranges whether they are not known: in no row of what is known now, or of the first map where that is not.

    Rows are in order and disjoint.
    """
    found = np.ones(start.size, np.bool_)
    for i in range(start.size):
        at = np.searchsorted(now_start, end[i]) - 1  # the last that begins before its end
        if at >= 0 and now_end[at] > start[i]:
            found[i] = now_start[at] > start[i] or now_end[at] < end[i] or now_shift[at] != shift[i]
            continue
        at = np.searchsorted(first_start, start[i], side="right") - 1
        if at >= 0 and end[i] <= first_end[at] and first_shift[at] == shift[i]:
            found[i] = False
    return found


@compiled
def order_pieces(first: Ints, count: Ints, segments: int) -> tuple[Ints, Ints]:
    """Return where the pieces of each segment begin, and each piece's range, by segment and then as the ranges stand.

    A range has `count` segments from `first` on.
    """
    bounds = np.zeros(segments + 1, np.int64)
    for i in range(first.size):
        for segment in range(first[i], first[i] + count[i]):
            bounds[segment + 1] += 1
    for segment in range(segments):
        bounds[segment + 1] += bounds[segment]
    place, one = bounds[:-1].copy(), np.empty(bounds[-1], np.int64)
    for i in range(first.size):
        for segment in range(first[i], first[i] + count[i]):
            one[place[segment]] = i
            place[segment] += 1
    return bounds, one


@compiled
def put_in_order(
    first: Ints, count: Ints, known: int, base: Ints, shift: Ints, since_ns: Ints, from_ns: Ints, until_ns: Ints
) -> tuple[tuple[Ints, Ints, Ints, Ints], tuple[Ints, Ints, Ints, Ints], Ints]:
    """Go through the ranges of each segment (see `order_pieces`): what is `known`, and then sightings in order of time.

    Returns for each segment where it is now (as `Ranges`; `until_ns` 0: never seen elsewhere than `base`); the rows
    (segment, shift, from when, until when) of where it was; and how often its sightings could not be put in order. What
    agrees with the map (`base`) from the start needs no order, and makes no row.
    """
    bounds, one = order_pieces(first, count, base.size)
    now = (base.copy(), np.zeros(base.size, np.int64), np.zeros(base.size, np.int64), np.zeros(base.size, np.int64))
    past = (np.empty(one.size, np.int64), np.empty(one.size, np.int64), np.empty(one.size, np.int64))
    ended = np.empty(one.size, np.int64)
    disputes = np.zeros(base.size, np.int64)
    rows = 0
    for s in range(base.size):
        place, since, begin, last = base[s], 0, 0, 0
        for i in one[bounds[s] : bounds[s + 1]]:
            if i < known:
                place, since, begin, last = shift[i], since_ns[i], from_ns[i], until_ns[i]
                continue
            if shift[i] == place or (last > 0 and until_ns[i] < begin):
                continue  # as it is; or of before that, so it says nothing of now
            is_disputed = last > 0 and from_ns[i] <= last
            disputes[s] += is_disputed
            if is_disputed and place == GONE:  # as before: no place
                last = max(last, until_ns[i])
                continue
            to = max(since, from_ns[i]) if is_disputed else since_ns[i]
            if place != base[s] and to > since:
                past[0][rows], past[1][rows], past[2][rows], ended[rows] = s, place, since, to
                rows += 1
            place, since = GONE if is_disputed else shift[i], to
            begin = min(begin, from_ns[i]) if is_disputed else from_ns[i]
            last = max(last, until_ns[i]) if is_disputed else until_ns[i]
        now[0][s], now[1][s], now[2][s], now[3][s] = place, since, begin, last
    return now, (past[0][:rows], past[1][:rows], past[2][:rows], ended[:rows]), disputes


def _touches(start: Ints, end: Ints, starts: Ints, ends: Ints) -> Bools:
    """Tell which ranges share bytes with any of the others."""
    if not start.size or not starts.size:
        return np.zeros(start.size, dtype=np.bool_)
    order = np.argsort(starts, kind="stable")
    begins, reach = starts[order], np.maximum.accumulate(ends[order])
    before = np.searchsorted(begins, end, side="left") - 1
    return np.asarray((before >= 0) & (reach[before] > start))


def _edges(every: Ranges, first: KnownShifts) -> Ints:
    """Return where the ranges, or the map within them, begin and end."""
    _, begin, end, _ = first.cut(*without_overlap(every.start, every.end))
    return np.unique(np.concatenate([every.start, every.end, begin, end]))
