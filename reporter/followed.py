"""Where ranges of a guest's disk lie in its image file, as the run shows it, put in order of time.

What the first map says already takes no room: only ranges that were seen elsewhere are kept, each with its place and
since when. A range that leaves its place becomes a row: it lay there from then to then.
"""

from dataclasses import dataclass, field

import numpy as np

from vio.mappers.timed import FOREVER_NS
from vio.reporter.compiled import compiled
from vio.reporter.match import Bools, Ints
from vio.reporter.sightings import GONE, KnownShifts, PastRanges, Ranges

MOST_RANGES = 1 << 20  # kept: 48 MiB
_PIECES = 1 << 22  # cut at once: memory is bounded by it, however the ranges overlap


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

    def add(self, seen: Ranges) -> PastRanges:
        """Take sightings that are not earlier than those before; return what has left its place by them."""
        news = self._news(seen)
        if not len(news):
            return PastRanges.joined([])
        news = news.take(np.lexsort((news.from_ns, news.until_ns)))
        return PastRanges.joined([*(self._step(part) for part in self._parts(news)), self._forget()]).whole()

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

    def _news(self, seen: Ranges) -> Ranges:
        """Leave out what the first map says too, unless the range was seen elsewhere."""
        is_new = is_unlike(self.first.start, self.first.end, self.first.shift, seen.start, seen.end, seen.shift)
        if not len(self._now) and not is_new.any():
            return seen.take(slice(0, 0))
        start = np.concatenate([self._now.start, seen.start[is_new]])
        end = np.concatenate([self._now.end, seen.end[is_new]])
        return seen.take(is_new | _touches(seen.start, seen.end, start, end))

    def _parts(self, news: Ranges) -> list[Ranges]:
        """Cut the sightings into stretches of time, each of which makes not too many pieces."""
        waiting, done = [news], []
        while waiting:
            part = waiting.pop()
            if len(part) > 1 and self._piece_count(part) > self.pieces:
                half = len(part) // 2
                waiting += [part.take(slice(half, None)), part.take(slice(0, half))]
            else:
                done.append(part)
        return done

    def _piece_count(self, news: Ranges) -> int:
        every = Ranges.joined([self._now.take(_touches(self._now.start, self._now.end, news.start, news.end)), news])
        edges = _edges(every, self.first)
        return int((np.searchsorted(edges, every.end) - np.searchsorted(edges, every.start)).sum())

    def _step(self, news: Ranges) -> PastRanges:
        is_touched = _touches(self._now.start, self._now.end, news.start, news.end)
        known = self._now.take(is_touched)
        every = Ranges.joined([known, news])
        edges = _edges(every, self.first)
        segment, one = _pieces(every, edges)
        begins = np.flatnonzero(np.append(True, segment[1:] != segment[:-1]))
        start, end = edges[segment[begins]], edges[segment[begins] + 1]
        base = self.first.at(start)
        columns = (every.shift[one], every.since_ns[one], every.from_ns[one], every.until_ns[one])
        state, past, disputes = put_in_order(np.append(begins, one.size), one < len(known), base, *columns)
        self.disputed_bytes += int(((end - start) * disputes).sum())
        shift, since_ns, from_ns, until_ns = state
        left = Ranges(start, end, shift, since_ns, from_ns, until_ns).take(until_ns > 0)
        self._now = Ranges.joined([self._now.take(~is_touched), left]).whole()
        row, was, since, to = past
        return PastRanges(start[row], end[row], was, since, to)

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
def is_unlike(start: Ints, end: Ints, shift: Ints, begins: Ints, ends: Ints, shifts: Ints) -> Bools:
    """Tell of ranges whether a map (sorted, disjoint) has no row that says the same of all of their bytes."""
    found = np.ones(begins.size, np.bool_)
    for i in range(begins.size):
        low, high = 0, start.size
        while low < high:
            middle = (low + high) // 2
            if start[middle] <= begins[i]:
                low = middle + 1
            else:
                high = middle
        at = low - 1
        if at >= 0 and ends[i] <= end[at] and shift[at] == shifts[i]:
            found[i] = False
    return found


@compiled
def put_in_order(
    bounds: Ints, is_known: Bools, base: Ints, shift: Ints, since_ns: Ints, from_ns: Ints, until_ns: Ints
) -> tuple[tuple[Ints, Ints, Ints, Ints], tuple[Ints, Ints, Ints, Ints], Ints]:
    """Go through the sightings of each segment, which are in order of time; the first may be what was known before.

    Returns for each segment where it is now (as `Ranges`; `until_ns` 0: never seen elsewhere than `base`); the rows
    (segment, shift, from when, until when) of where it was; and how often its sightings could not be put in order. What
    agrees with the map (`base`) from the start needs no order, and makes no row.
    """
    segments = base.size
    now_shift, now_since = np.empty(segments, np.int64), np.empty(segments, np.int64)
    now_from, now_until = np.empty(segments, np.int64), np.empty(segments, np.int64)
    row, was = np.empty(shift.size, np.int64), np.empty(shift.size, np.int64)
    begun, ended = np.empty(shift.size, np.int64), np.empty(shift.size, np.int64)
    disputes = np.zeros(segments, np.int64)
    rows = 0
    for s in range(segments):
        place, since, first, last = base[s], 0, 0, 0
        for i in range(bounds[s], bounds[s + 1]):
            if is_known[i]:
                place, since, first, last = shift[i], since_ns[i], from_ns[i], until_ns[i]
                continue
            if shift[i] == place:
                if last > 0:
                    last = max(last, until_ns[i])
                continue
            if last > 0 and until_ns[i] < first:
                continue  # of before that: it says nothing of now
            is_disputed = last > 0 and from_ns[i] <= last
            disputes[s] += is_disputed
            if is_disputed and place == GONE:  # as before: no place
                last = max(last, until_ns[i])
                continue
            to = max(since, from_ns[i]) if is_disputed else since_ns[i]
            if place != base[s] and to > since:
                row[rows], was[rows], begun[rows], ended[rows] = s, place, since, to
                rows += 1
            place, since = GONE if is_disputed else shift[i], to
            first = min(first, from_ns[i]) if is_disputed else from_ns[i]
            last = max(last, until_ns[i]) if is_disputed else until_ns[i]
        now_shift[s], now_since[s], now_from[s], now_until[s] = place, since, first, last
    past = (row[:rows], was[:rows], begun[:rows], ended[:rows])
    return (now_shift, now_since, now_from, now_until), past, disputes


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
    _, begin, end, _ = first.cut(every.start, every.end)
    return np.unique(np.concatenate([begin, end]))


def _pieces(every: Ranges, edges: Ints) -> tuple[Ints, Ints]:
    """Cut ranges at all edges; return the segment and the range of each piece, by segment and then as they stand."""
    first = np.searchsorted(edges, every.start)
    count = np.searchsorted(edges, every.end) - first
    one = np.repeat(np.arange(len(every)), count)
    segment = np.arange(one.size) - np.repeat(np.cumsum(count) - count - first, count)
    order = np.argsort(segment, kind="stable")
    return segment[order], one[order]
