"""Which bytes of one file are written and not yet written back, and who wrote them last; pure interval bookkeeping.

State is kept only for bytes that are dirty: what is written back, overwritten or dropped leaves it.
"""

from dataclasses import dataclass, field, fields

import numpy as np

from vio.mappers.interval import runs
from vio.reporter.match import Bools, Ints

WRITE, WRITEBACK, DROP = 0, 1, 2
_PIECES = 1 << 22  # cut at once: memory is bounded by it, however the ranges overlap
MOST_RANGES = 1 << 22  # kept: 128 MiB of state, for what is written back where no map tells


@dataclass(frozen=True, slots=True)
class Steps:
    """What happens to ranges of a file, in order of time: a WRITE by `who`, a WRITEBACK by `who`, or a DROP.

    Ranges are bytes, `end` exclusive. Of a write `who` is its IO, and `ended_ns` says when that ended (0: not known);
    of a writeback `who` is its bio.
    """

    kind: Ints
    start: Ints
    end: Ints
    who: Ints
    ended_ns: Ints

    @classmethod
    def of(cls, kind: int, start: Ints, end: Ints, who: Ints, ended_ns: Ints | None = None) -> "Steps":
        """Return steps of one kind, those without a byte left out."""
        has = end > start
        ended = np.zeros(int(has.sum()), dtype=np.int64) if ended_ns is None else ended_ns[has]
        return cls(np.full(ended.size, kind), start[has], end[has], who[has], ended)

    @classmethod
    def empty(cls) -> "Steps":
        """Return no steps."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def joined(cls, parts: list["Steps"]) -> "Steps":
        """Return the steps of several, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        """Return the number of steps."""
        return int(self.start.size)

    def take(self, which: Ints | Bools | slice) -> "Steps":
        """Return the chosen steps."""
        return Steps(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Shared:
    """Bytes that a writeback took from a write: the bio, the IO and its end, and the range of the file."""

    bio: Ints
    io: Ints
    ended_ns: Ints
    start: Ints
    end: Ints


@dataclass(frozen=True, slots=True)
class Outcome:
    """What steps came to: ranges shared by writes and writebacks, and bytes that went another way.

    `unwritten` is of bios whose bytes nobody had written; `overwritten` and `dropped` are of the IOs whose bytes never
    came to be written back. Each is a pair of who and how many bytes, in pieces.
    """

    shared: Shared
    unwritten: tuple[Ints, Ints]
    overwritten: tuple[Ints, Ints]
    dropped: tuple[Ints, Ints]


@dataclass(slots=True)
class DirtyRanges:
    """Dirty ranges of one file, sorted and disjoint; `forgotten_bytes` were dropped because there were too many."""

    most: int = MOST_RANGES
    pieces: int = _PIECES
    forgotten_bytes: int = 0
    _ranges: Steps = field(default_factory=Steps.empty)

    @property
    def ranges(self) -> Steps:
        """The dirty ranges, as writes."""
        return self._ranges

    def apply(self, steps: Steps) -> Outcome:
        """Take steps that are later than all before; return what they came to."""
        return _together([self._apply(part) for part in self._parts(steps)])

    def rename(self, old: Ints, new: Ints, ended_ns: Ints) -> None:
        """Give the ranges of each `old` IO (ascending) to the `new` one, which ended at `ended_ns`."""
        which, found = located(self._ranges.who, old)
        if which.size:
            self._ranges.who[which] = new[found]
            self._ranges.ended_ns[which] = ended_ns[found]

    def _parts(self, steps: Steps) -> list[Steps]:
        """Cut the steps into stretches of time, each of which makes not too many pieces."""
        waiting, done = [steps], []
        while waiting:
            part = waiting.pop()
            if len(part) > 1 and _piece_count(self._ranges, part) > self.pieces:
                half = len(part) // 2
                waiting += [part.take(slice(half, None)), part.take(slice(0, half))]
            else:
                done.append(part)
        return done

    def _apply(self, steps: Steps) -> Outcome:
        is_touched = _touched(self._ranges, steps)
        every = Steps.joined([self._ranges.take(is_touched), steps])
        edges = np.unique(np.concatenate([every.start, every.end]))
        segment, step = _pieces(every, edges)
        kind, who = every.kind[step], every.who[step]
        length = np.diff(edges)[segment]
        # Of one segment all steps stand in order of time: each meets what the one before it has left.
        is_first = np.append(True, segment[1:] != segment[:-1])[: segment.size]
        before = np.where(is_first, step, np.append(0, step[:-1])[: step.size])
        meets_write = ~is_first & (every.kind[before] == WRITE)
        hit = (kind == WRITEBACK) & meets_write
        shared = Shared(
            who[hit], every.who[before[hit]], every.ended_ns[before[hit]], edges[segment[hit]], edges[segment[hit] + 1]
        )
        missed, over, drop = (kind == WRITEBACK) & ~meets_write, (kind == WRITE) & meets_write, (kind == DROP)
        drop &= meets_write
        stays = np.append(is_first[1:], True)[: segment.size] & (kind == WRITE)
        left = every.take(step[stays])
        left = Steps(left.kind, edges[segment[stays]], edges[segment[stays] + 1], left.who, left.ended_ns)
        self._keep(self._ranges.take(~is_touched), left)
        return Outcome(
            _whole(shared),
            (who[missed], length[missed]),
            (every.who[before[over]], length[over]),
            (every.who[before[drop]], length[drop]),
        )

    def _keep(self, untouched: Steps, left: Steps) -> None:
        merged = Steps.joined([untouched, left])
        merged = merged.take(np.argsort(merged.start, kind="stable"))
        breaks = (merged.start[1:] != merged.end[:-1]) | (merged.who[1:] != merged.who[:-1])
        first, last = runs(breaks, len(merged))
        end = merged.end[last]
        merged = merged.take(first)
        self._ranges = Steps(merged.kind, merged.start, end, merged.who, merged.ended_ns)
        if len(self._ranges) > self.most:
            oldest = np.argsort(self._ranges.ended_ns, kind="stable")[: len(self._ranges) - self.most // 2]
            self.forgotten_bytes += int((self._ranges.end[oldest] - self._ranges.start[oldest]).sum())
            is_kept = np.ones(len(self._ranges), dtype=np.bool_)
            is_kept[oldest] = False
            self._ranges = self._ranges.take(is_kept)


def located(values: Ints, names: Ints) -> tuple[Ints, Ints]:
    """Return which of the values are among the names (ascending), and the position of each of these there."""
    if not names.size or not values.size:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(names, values), names.size - 1)
    which = np.flatnonzero(names[place] == values)
    return which, place[which]


def _touched(ranges: Steps, steps: Steps) -> Bools:
    """Tell which of the sorted ranges share bytes with any step."""
    if not len(ranges) or not len(steps):
        return np.zeros(len(ranges), dtype=np.bool_)
    order = np.argsort(steps.start, kind="stable")
    start, reach = steps.start[order], np.maximum.accumulate(steps.end[order])
    before = np.searchsorted(start, ranges.end, side="left") - 1
    return np.asarray((before >= 0) & (reach[before] > ranges.start))


def _piece_count(ranges: Steps, steps: Steps) -> int:
    every = Steps.joined([ranges.take(_touched(ranges, steps)), steps])
    edges = np.unique(np.concatenate([every.start, every.end]))
    return int((np.searchsorted(edges, every.end) - np.searchsorted(edges, every.start)).sum())


def _pieces(every: Steps, edges: Ints) -> tuple[Ints, Ints]:
    """Cut the steps at all edges; return the segment and the step of each piece, by segment and then by time."""
    first = np.searchsorted(edges, every.start)
    count = np.searchsorted(edges, every.end) - first
    step = np.repeat(np.arange(len(every)), count)
    segment = np.arange(step.size) - np.repeat(np.cumsum(count) - count - first, count)
    order = np.argsort(segment, kind="stable")
    return segment[order], step[order]


def _whole(shared: Shared) -> Shared:
    """Join neighbours that one bio took from one IO."""
    order = np.lexsort((shared.start, shared.bio))
    bio, io, start, end = shared.bio[order], shared.io[order], shared.start[order], shared.end[order]
    breaks = (bio[1:] != bio[:-1]) | (io[1:] != io[:-1]) | (start[1:] != end[:-1])
    first, last = runs(breaks, bio.size)
    return Shared(bio[first], io[first], shared.ended_ns[order][first], start[first], end[last])


def _together(parts: list[Outcome]) -> Outcome:
    if len(parts) == 1:
        return parts[0]
    shared = Shared(*(np.concatenate([getattr(part.shared, f.name) for part in parts]) for f in fields(Shared)))
    pairs = (
        (np.concatenate([who for who, _ in side]), np.concatenate([size for _, size in side]))
        for side in ([getattr(part, name) for part in parts] for name in ("unwritten", "overwritten", "dropped"))
    )
    return Outcome(shared, *pairs)
