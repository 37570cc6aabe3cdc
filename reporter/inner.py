"""Parts of layers: which points begin, end or mark them, and the spans that their events make."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vio.layer import Layer
from vio.manifest import PointInfo
from vio.reporter.events import Events
from vio.reporter.match import Bools, Ints, Keys, pair, picked

_IDENTITIES = {"key=iocb", "key=bio", "key=request", "key=file", "key=user_data", "key=pointer"}
MARK = -2  # in the place of an end: a part that is one time stamp


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of a layer, by the numbers of its points; `is_by_key`: a key ties its ends to its begins.

    `has_identity`: its key is one IO's own (a kiocb, a bio), not an inode or device that many share.
    """

    layer: Layer
    name: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    marks: tuple[int, ...]
    is_by_key: bool
    has_identity: bool = False

    @property
    def is_mark(self) -> bool:
        """Whether it is a time stamp only."""
        return not self.begins


@dataclass(frozen=True, slots=True)
class InnerSpans:
    """Spans of parts in order of begin: the part's number, times in ns, thread, key and stack pointer at the begin.

    `end_ns` is -1 where no end was seen, MARK for a time stamp.
    """

    part: Ints
    begin_ns: Ints
    end_ns: Ints
    tid: Ints
    key: Keys
    aux: Ints

    def __len__(self) -> int:
        """Return the number of spans."""
        return int(self.part.size)


def parts_of(points: Iterable[PointInfo]) -> tuple[Part, ...]:
    """List the parts that a recording's points have, by layer from the top, in the order of the points."""
    found: dict[tuple[Layer, str], list[PointInfo]] = {}
    for point in points:
        if point.part:
            found.setdefault((point.layer, point.part), []).append(point)
    parts = [
        Part(
            layer,
            name,
            tuple(one.number for one in of if one.role == "begin"),
            tuple(one.number for one in of if one.role == "end"),
            tuple(one.number for one in of if one.role == "mark"),
            any(one.join == "key" for one in of),
            any(_IDENTITIES & set(one.fields.split()) for one in of),
        )
        for (layer, name), of in found.items()
    ]
    return tuple(sorted((part for part in parts if part.begins or part.marks), key=lambda part: part.layer.depth))


def inner_events(events: Events, parts: Iterable[Part]) -> Ints:
    """Return the indices of the events of the parts' points."""
    numbers = [number for part in parts for number in (*part.begins, *part.ends, *part.marks)]
    is_inner = np.zeros(256, dtype=np.bool_)
    is_inner[numbers] = True
    return np.flatnonzero(is_inner[events.point])


def spans_in(events: Events, parts: tuple[Part, ...]) -> tuple[InnerSpans, Bools]:
    """Match begins with ends; also return which events are part of no span (an end whose begin was not seen)."""
    is_loose = np.ones(len(events), dtype=np.bool_)
    begins: list[Ints] = []
    ends: list[Ints] = []
    kinds: list[Ints] = []
    for number, part in enumerate(parts):
        begin, end = _at(events, part.begins), _at(events, part.ends)
        key = events.key if part.is_by_key else events.tid.astype(np.uint64)
        found = picked(end, pair(begin, key[begin], end, key[end]).end)
        mark = _at(events, part.marks)
        begins += [begin, mark]
        ends += [found, np.full(mark.size, MARK)]
        kinds += [np.full(begin.size + mark.size, number)]
    begin, end, kind = (np.concatenate(one) if one else np.empty(0, np.int64) for one in (begins, ends, kinds))
    is_loose[begin] = False
    is_loose[end[end >= 0]] = False
    end_ns = np.where(end >= 0, events.ts_ns[end], end) if len(events) else end
    # of two that begin at once the longer one is around the other
    lasting = np.where(end >= 0, end_ns, np.where(end == MARK, 0, np.iinfo(np.int64).max))
    order = np.lexsort((-lasting, events.ts_ns[begin]))
    begin, end_ns, kind = begin[order], end_ns[order], kind[order]
    tid, aux = events.tid[begin].astype(np.int64), events.aux[begin].astype(np.int64)
    has_identity = np.array([part.has_identity for part in parts], dtype=np.bool_)
    key = np.where(has_identity[kind], events.key[begin], np.uint64(0))
    return InnerSpans(kind, events.ts_ns[begin], end_ns, tid, key, aux), is_loose


def _at(events: Events, numbers: tuple[int, ...]) -> Ints:
    if not numbers:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.isin(events.point, numbers))
