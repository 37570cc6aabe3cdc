"""Find the batches that never arrived: each batch stream numbers its lines from 1, in the kernel. Pure."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vio.recorder.wire import U64

NO_TIME = -1


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers `[first, last]` that are missing, and the times before and after which they are not."""

    first: int
    last: int
    from_ns: int
    to_ns: int

    @property
    def count(self) -> int:
        """How many lines are missing."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Sequence:
    """One batch key's lines: the highest number seen, the newest record's time, and what is missing so far.

    Per-CPU buffers are read one after the other, so a thread's lines may come in another order than
    they were written: a gap closes again when its lines come late.
    """

    highest: int = 0
    newest_ns: int = NO_TIME
    lines: int = 0
    repeated: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def take(self, number: int, first_ns: int, last_ns: int) -> None:
        """Note the arrival of one line with its first and last record's time."""
        self.lines += 1
        if number > self.highest:
            if number > self.highest + 1:
                self.gaps.append(Gap(self.highest + 1, number - 1, self.newest_ns, first_ns))
            self.highest, self.newest_ns = number, max(self.newest_ns, last_ns)
        elif not self._close(number, first_ns, last_ns):
            self.repeated += 1

    def take_run(self, number: int, count: int, last_ns: int) -> None:
        """Note the arrival of `count` lines without a gap, beginning with the one that is due."""
        self.lines += count
        self.highest, self.newest_ns = number + count - 1, max(self.newest_ns, last_ns)

    def end(self, final: int, to_ns: int) -> None:
        """Say the last number that the kernel gave: what is above the highest seen is missing."""
        if final > self.highest:
            self.gaps.append(Gap(self.highest + 1, final, self.newest_ns, to_ns))

    @property
    def missing(self) -> int:
        """How many lines are missing."""
        return sum(gap.count for gap in self.gaps)

    def _close(self, number: int, first_ns: int, last_ns: int) -> bool:
        for at, gap in enumerate(self.gaps):
            if gap.first <= number <= gap.last:
                before = replace(gap, last=number - 1, to_ns=min(gap.to_ns, first_ns))
                after = replace(gap, first=number + 1, from_ns=max(gap.from_ns, last_ns))
                self.gaps[at : at + 1] = [part for part in (before, after) if part.count]
                return True
        return False


class SequenceBook:
    """All sequences, by stream and batch key."""

    def __init__(self) -> None:
        self.sequences: dict[tuple[int, int], Sequence] = {}

    def get(self, stream: int, key: int) -> Sequence:
        """Return a key's sequence; a new one if nothing has come from it."""
        return self.sequences.setdefault((stream, key), Sequence())

    def take(self, stream: U64, key: U64, number: U64, first_ns: U64, last_ns: U64) -> None:
        """Note the arrival of many lines, in the order they came."""
        order = np.lexsort((key, stream))
        is_new = (np.diff(stream[order]) != 0) | (np.diff(key[order]) != 0)
        for lines in np.split(order, np.flatnonzero(is_new) + 1):
            if len(lines):
                sequence = self.get(int(stream[lines[0]]), int(key[lines[0]]))
                _take_lines(sequence, number[lines], first_ns[lines], last_ns[lines])


def _take_lines(sequence: Sequence, number: U64, first_ns: U64, last_ns: U64) -> None:
    due: npt.NDArray[np.uint64] = np.arange(len(number), dtype=np.uint64) + np.uint64(sequence.highest + 1)
    if np.array_equal(number, due):
        sequence.take_run(sequence.highest + 1, len(number), int(last_ns.max()))
        return
    for one, first, last in zip(number.tolist(), first_ns.tolist(), last_ns.tolist(), strict=True):
        sequence.take(one, first, last)
