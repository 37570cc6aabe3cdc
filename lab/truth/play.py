"""What an injection is, and what one that has been played leaves to be judged."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.truth.attribution import Attribution, Lives, attribute, overlap_ns
from lab.truth.scene import Scene
from lab.truth.shell import FioRun, Latency
from vio.layer import Op
from vio.reporter.waits import Wait

_SHORT_NS = 1_000_000


def now_ns() -> int:
    """Read the clock that recordings use (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Play:
    """Where to look in the recording: IOs of `ops` on `disk`, those within `base` and those that live in `touched`.

    `injected_ns` is the truth, from another source than vio. Where it is a list of delays (from, to), the touched IOs
    are those that were under way meanwhile for more than a millisecond, and the truth is for how long they were.
    """

    disk: int
    ops: tuple[Op, ...]
    base: tuple[int, int]
    touched: tuple[int, int]
    injected_ns: int | tuple[tuple[int, int], ...]
    is_each: bool = False
    """Every touched IO was delayed, and `injected_ns` is the median one's delay."""

    def judge(self, lives: Lives, expected: tuple[str, ...], wait: Wait | None = None) -> Attribution:
        """Compare; `lives` are the report's IOs of that disk and those operations."""
        touched = lives.across(*self.touched)
        if isinstance(self.injected_ns, int):
            truth = self.injected_ns
        else:
            shared_ns = overlap_ns(touched, self.injected_ns)
            touched, truth = touched.where(shared_ns > _SHORT_NS), int(shared_ns[shared_ns > _SHORT_NS].sum())
        base, count = lives.within(*self.base), len(touched) if self.is_each else 1
        return attribute(base, touched, count * truth, expected, is_each=self.is_each, wait=wait)


@dataclass(frozen=True, slots=True)
class Injection:
    """One delay in one place: how it is made, where a right report puts it and why, and what knows how long it was.

    `lacks` says why this host cannot do it, "" if it can. All of it shows as a `wait`, if there is one for it.
    """

    name: str
    what: str
    expected: tuple[str, ...]
    why: str
    truth: str
    play: Callable[[Scene], Play]
    lacks: Callable[[], str] = lambda: ""
    wait: Wait | None = None


def longer_by(base: Latency, slow: Latency) -> int:
    """Give by how much the median IO of one fio run took longer than that of another: the guest's own measure."""
    return round(slow.median_ns - base.median_ns)


def all_longer_by(base: Latency, slow: Latency) -> int:
    """Give by how much all IOs of a run took longer than as many usual ones: where they were not delayed alike."""
    return round(slow.total_ns - slow.count * base.median_ns)


def longest_by(base: Latency, slow: Latency) -> int:
    """Give by how much the longest IO of a run took longer: for a delay that meets one IO only."""
    return round(slow.max_ns - base.median_ns)


def span(run: FioRun) -> tuple[int, int]:
    """Give the time of a run."""
    return run.from_ns, run.to_ns
